"""All data of a user as one file to keep."""
