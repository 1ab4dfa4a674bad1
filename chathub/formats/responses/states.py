"""The state of other formats' reasoning in ``encrypted_content``, the field of a reasoning item that a client
sends back as it came."""

from chathub.formats.loose_json import as_string
from chathub.formats.reasoning.seal import is_sealed, seal, unseal
from chathub.schemas.json import JsonObject

# the field of a sealed state with the model that made it
_MODEL = "model"


def item_state(data: JsonObject, model: str = "") -> str:
    """The data of a ``State`` as ``encrypted_content``; empty if it would be too long. ``model`` made it."""
    return seal({**data, **({_MODEL: model} if model else {})})


def state_in(encrypted: str) -> JsonObject:
    """The data in ``encrypted_content`` that ``item_state`` made; empty for a provider's own."""
    return {name: value for name, value in unseal(encrypted).items() if name != _MODEL}


def model_in(encrypted: str) -> str:
    """The model that made the state in ``encrypted_content``; empty if it is not known."""
    return as_string(unseal(encrypted).get(_MODEL))


def is_ours(encrypted: str) -> bool:
    """Whether ChatHub made this ``encrypted_content``, in any version of it: no provider can read it."""
    return is_sealed(encrypted)
