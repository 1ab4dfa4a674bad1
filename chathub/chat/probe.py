"""Small questions to a provider: the cheapest call with a key, its list of models, and taking some over."""

from collections.abc import Sequence

from msgspec.structs import replace

from chathub import audit
from chathub.audit import Actor
from chathub.catalog import ChatModel
from chathub.chat import ledger
from chathub.chat.context import estimate_messages
from chathub.chat.ledger import Account
from chathub.chat.tally import Tally
from chathub.clock import Month
from chathub.database.connection import Transaction
from chathub.errors import NotFound
from chathub.upstream import routing
from chathub.upstream.client import Client, Refused
from chathub.upstream.requests import headers_for, list_address
from chathub.upstream.types import ChatCall, Endpoint, Failure, Message

# what no provider has given to anybody
_NO_KEY = "not-a-key"
_QUESTION = [Message("user", "hi")]
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


async def list_models(client: Client, endpoint: Endpoint) -> list[str] | Failure:
    """The names of the provider's models, or why it did not tell."""
    try:
        async with client.at_local(endpoint) as at:
            return await client.list_models(at, list_address(at), headers_for(at))
    except Refused as refused:
        return refused.failure
    except ValueError:
        return Failure("接口地址无效", kind="unreachable")


def new_tally() -> Tally:
    """What a try is counted with."""
    return Tally(estimate_messages(_QUESTION), 10_000)


async def try_key(
    client: Client, endpoint: Endpoint, models: Sequence[ChatModel], tally: Tally
) -> Failure | None:
    """Whether a key works. The model list costs nothing, but some providers show it to anybody, and some
    have none: then an answer of one token tells, and ``tally`` what that took."""
    listed = await list_models(client, endpoint)
    if isinstance(listed, Failure):
        if listed.status not in (404, 405, 501) or not models:
            return listed
    elif not models or isinstance(await list_models(client, replace(endpoint, api_key=_NO_KEY)), Failure):
        return None
    model = min(models, key=lambda model: (model.output_price, model.name))
    call = ChatCall("", model.name, _QUESTION, stream=False, params={"max_tokens": 1})
    tally.model = model
    with routing.attempted(tally.attempts, endpoint, model.name) as attempt:
        attempt.failure = await client.call(endpoint, call, tally.feed)
    if attempt.failure is not None and not tally.begun:
        tally.forget()
    tally.well = attempt.failure is None
    return attempt.failure


def settle(tx: Transaction, tally: Tally, user_id: int, month: Month) -> None:
    """Enter into the ledger what a try took."""
    if tally.model is not None:
        ledger.book(
            tx,
            Account(kind="probe", user_id=user_id),
            tally.attempts,
            {tally.model.name: tally.model},
            tally.bill(tally.model),
            first_at=tally.first_at,
            end_reason=tally.end_reason,
            month=month,
        )


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
