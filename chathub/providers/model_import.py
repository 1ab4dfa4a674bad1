"""Import of models that a provider lists: rows by name, with defaults."""

from collections.abc import Sequence

from chathub.database.transaction import Transaction
from chathub.errors import NotFound
from chathub.security import audit
from chathub.security.audit import Actor

# what a name holds, and the type of such a model; rerankers first, which are named after embeddings too
_KINDS = (
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
# names that the audit tells
_TOLD = 20


def import_models(tx: Transaction, provider_id: int, names: Sequence[str], who: Actor, now: int) -> list[str]:
    """Add models by name, with the defaults of the table; those that are known already stay as they are.

    Raises:
        NotFound: no such provider.
    """
    if tx.one(tx.q.providers.get_by_id, provider_id=provider_id) is None:
        raise NotFound("提供商不存在")
    added = [
        name
        for name in dict.fromkeys(names)
        if tx.run(
            tx.q.models.add_by_name, model_name=name, provider_id=provider_id, kind=_kind(name), now=now
        )
    ]
    told = {"count": len(added), "models": added[:_TOLD]}
    audit.record(tx, who, "model.imported", now, f"provider {provider_id}", **told)
    return added


def _kind(name: str) -> str:
    """What a model is for, as far as its name tells."""
    lower = name.lower()
    return next((kind for word, kind in _KINDS if word in lower), "chat")
