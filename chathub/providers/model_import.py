"""Import of models that a provider lists: rows by name, with defaults."""

from collections.abc import Sequence

from chathub.database.transaction import Transaction
from chathub.errors import NotFound
from chathub.security import audit
from chathub.security.audit import Actor

# a part of a name, and the type of such a model; rerankers first, which are named after embeddings too
_TYPES = (
    ("rerank", "rerank"),
    ("embed", "embedding"),
    ("bge-", "embedding"),
    ("moderation", "moderation"),
    ("dall-e", "image"),
    ("flux", "image"),
    ("gpt-image", "image"),
    ("kolors", "image"),
    ("stable-diffusion", "image"),
    ("cosyvoice", "audio"),
    ("sensevoice", "audio"),
    ("whisper", "audio"),
    ("-i2v", "video"),
    ("-t2v", "video"),
)
# names in one entry of the audit
_AUDITED = 20


def import_models(
    tx: Transaction, provider_id: int, names: Sequence[str], actor: Actor, now: int
) -> list[str]:
    """Insert models by name, with the defaults of the columns; models that exist stay as they are. Gives the
    names of the new ones.

    Raises:
        NotFound: no such provider.
    """
    if tx.one(tx.q.providers.get_by_id, provider_id=provider_id) is None:
        raise NotFound("provider_not_found")
    statement = tx.q.models.import_by_name
    added = [
        name
        for name in dict.fromkeys(names)
        if tx.run(statement, model_name=name, provider_id=provider_id, model_type=_model_type(name), now=now)
    ]
    target = f"provider {provider_id}"
    audit.record(tx, actor, "model.imported", now, target, count=len(added), models=added[:_AUDITED])
    return added


def _model_type(name: str) -> str:
    """What a model is for, as far as its name says."""
    lower = name.lower()
    return next((model_type for word, model_type in _TYPES if word in lower), "chat")
