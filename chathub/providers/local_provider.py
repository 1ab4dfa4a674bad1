"""The built-in model as a row: shown in the list of models while the server has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chathub.database.transaction import Transaction
from chathub.providers.catalog import LOCAL

if TYPE_CHECKING:
    # its import costs start time that a server without the built-in model need not spend
    from chathub.upstream.local_model.weights import Weights

# the longest answer of the built-in model, in tokens: small machines are slow
LOCAL_ANSWER = 1024


def offer_local_model(tx: Transaction, local: Weights | None, now: int) -> None:
    """Show the built-in model in the list while the server has it, and hide it otherwise."""
    provider = tx.one(tx.q.providers.get_by_key, provider_key=LOCAL)
    if local is None:
        if provider and provider["is_active"]:
            tx.run(tx.q.providers.set_active, provider_id=provider["id"], is_active=False, now=now)
        return
    if provider is None:
        provider = tx.one(
            tx.q.providers.insert,
            provider_key=LOCAL,
            display_name="本地模型",
            default_base_url="http://127.0.0.1",
            protocol="openai",
            needs_key=False,
            is_active=True,
            sort_order=-1,
            now=now,
        )
        assert provider is not None
    elif not provider["is_active"]:
        tx.run(tx.q.providers.set_active, provider_id=provider["id"], is_active=True, now=now)
    tx.run(tx.q.models.delete_others, provider_id=provider["id"], model_name=local.name)
    tx.run(
        tx.q.models.offer,
        provider_id=provider["id"],
        model_name=local.name,
        display_name=local.title,
        max_tokens=LOCAL_ANSWER,
        context_window=local.context,
        description=local.note,
        now=now,
    )
