"""The HTTP handlers: a file for each section of the API document, and what they share."""
