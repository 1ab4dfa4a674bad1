"""Everything spoken to providers. Knows neither the web server nor the database."""
