"""The I/O towards providers. Knows neither the web server nor the database."""
