"""Decodes a provider's list of models: ``data`` of OpenAI, Anthropic and most others, ``models`` of Gemini,
or an array alone (Together)."""

import msgspec
from msgspec import UNSET, Raw, UnsetType

from chathub.formats.listed_model import ListedModel, read_model
from chathub.formats.loose_json import as_object
from chathub.schemas.bounds import has_too_many_values

# values of one list, and bytes of one entry
_MOST_VALUES = 400_000
_LONGEST_ENTRY = 64 * 1024


class _Listing(msgspec.Struct):
    data: Raw | UnsetType = UNSET
    models: Raw | UnsetType = UNSET


def models_in(body: bytes) -> list[ListedModel] | None:
    """The models, sorted by name, each once; None if the body is no list of models, or an immense one."""
    if has_too_many_values(body, _MOST_VALUES):
        return None
    models: dict[str, ListedModel] = {}
    try:
        for array in _arrays(body):
            for entry in msgspec.json.decode(array, type=list[Raw] | None) or ():
                if memoryview(entry).nbytes <= _LONGEST_ENTRY:
                    _add(models, _read(entry))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return [models[name] for name in sorted(models)]


def _arrays(body: bytes) -> list[Raw]:
    if body.lstrip()[:1] == b"[":
        return [Raw(body.strip())]
    listing = msgspec.json.decode(body, type=_Listing)
    return [array for array in (listing.data, listing.models) if isinstance(array, Raw)]


def _read(entry: Raw) -> ListedModel | None:
    """The model of one entry; None for one that cannot be read: the others are."""
    try:
        return read_model(as_object(msgspec.json.decode(entry)))
    except (msgspec.MsgspecError, RecursionError):
        return None


def _add(models: dict[str, ListedModel], model: ListedModel | None) -> None:
    """Add a model. llama.cpp lists each one twice, with different details: the first one's count."""
    if model is None:
        return
    known = models.get(model.name, model)
    details = {
        name: value if value is not None else getattr(model, name)
        for name, value in msgspec.structs.asdict(known).items()
    }
    models[model.name] = ListedModel(**details)
