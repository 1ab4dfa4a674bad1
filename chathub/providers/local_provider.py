"""The built-in model as a row of the model table, which lists show while the server has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chathub.database.transaction import Transaction
from chathub.providers.catalog import LOCAL
from chathub.sentences import Language, sentence
from chathub.upstream.local_model.engine import LocalModel

if TYPE_CHECKING:
    # its import costs start time that a server without the built-in model need not spend
    from chathub.upstream.local_model.weights import Weights

# the longest reply of the built-in model, in tokens: small machines are slow
LOCAL_MAX_TOKENS = 1024


def offer_local_model(tx: Transaction, weights: Weights | None, language: Language, now: int) -> None:
    """Show the built-in model in the list while the server has it, and hide it otherwise."""
    provider = tx.one(tx.q.providers.get_by_slug, slug=LOCAL)
    if provider is not None and provider.is_active != (weights is not None):
        tx.run(tx.q.providers.set_active, provider_id=provider.id, is_active=weights is not None, now=now)
    if weights is None:
        return
    provider_id = _insert_provider(tx, language, now) if provider is None else provider.id
    tx.run(tx.q.models.delete_others, provider_id=provider_id, model_name=weights.name)
    tx.run(
        tx.q.models.offer,
        provider_id=provider_id,
        model_name=weights.name,
        display_name=weights.title,
        max_tokens=LOCAL_MAX_TOKENS,
        context_window=weights.context,
        description=sentence(weights.note, language, {}),
        now=now,
    )


def _insert_provider(tx: Transaction, language: Language, now: int) -> int:
    inserted = tx.all(
        tx.q.providers.insert,
        slug=LOCAL,
        display_name=sentence("local_model", language, {}),
        default_base_url="http://127.0.0.1",
        protocol="openai",
        needs_key=False,
        is_active=True,
        sort_order=-1,
        now=now,
    )
    return inserted[0].id


def local_model(weights: Weights) -> LocalModel:
    """The built-in model, which begins to run with its first request."""
    return LocalModel(
        weights.path,
        weights.name,
        context=weights.context,
        max_tokens=LOCAL_MAX_TOKENS,
        temperature=weights.temperature,
    )
