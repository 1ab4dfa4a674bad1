"""The one SQLite file: connections, migrations, named statements, backups and upkeep."""
