"""Failures of providers: read from their error bodies, and what each means (``table``)."""
