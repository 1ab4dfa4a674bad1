"""Decodes a provider's list of models: OpenAI's and Anthropic's ``data`` of ids, Gemini's ``models`` of
names."""

import msgspec


class _Listed(msgspec.Struct):
    id: str = ""
    name: str = ""


class _Listing(msgspec.Struct):
    data: list[_Listed] = []
    models: list[_Listed] = []


def names_in(body: bytes) -> list[str] | None:
    """The names, sorted, each once; None if the body is no list of models."""
    try:
        listing = msgspec.json.decode(body, type=_Listing)
    except msgspec.MsgspecError:
        return None
    names = (item.id or item.name.removeprefix("models/") for item in [*listing.data, *listing.models])
    return sorted({name for name in names if name})
