"""ChatHub: a self-hosted AI hub in one process and one SQLite file."""
