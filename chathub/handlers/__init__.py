"""The HTTP handlers: one or a few files for each section of the API document, and what they share."""
