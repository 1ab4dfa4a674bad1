"""JSON that ChatHub does not own: bodies of providers and clients, tools, schemas of a reply's format."""

from typing import Any

# an object whose fields are not known to be there, or of which type they are
JsonObject = dict[str, Any]
