"""Small questions to a provider: the cheapest call with a key, its list of models, and taking some over."""

from collections.abc import Sequence

from msgspec.structs import replace

from chathub.billing import ledger
from chathub.billing.ledger import AttemptOwner
from chathub.clock import Month
from chathub.database.connection import Transaction
from chathub.formats.estimates import estimate_messages
from chathub.formats.events import Failure
from chathub.formats.forwarding import headers_for, list_address
from chathub.formats.messages import ChatRequest, Endpoint, Message
from chathub.gateway.usage_meter import UsageMeter
from chathub.providers.catalog import ChatModel
from chathub.upstream import failover
from chathub.upstream.client import AttemptFailed, Client

# what no provider has given to anybody
_NO_KEY = "not-a-key"
_QUESTION = [Message("user", "hi")]


async def list_models(client: Client, endpoint: Endpoint) -> list[str] | Failure:
    """The names of the provider's models, or why it did not tell."""
    try:
        async with client.at_local(endpoint) as at:
            return await client.list_models(at, list_address(at), headers_for(at))
    except AttemptFailed as refused:
        return refused.failure
    except ValueError:
        return Failure("接口地址无效", kind="unreachable")


def new_tally() -> UsageMeter:
    """What a try is counted with."""
    return UsageMeter(estimate_messages(_QUESTION), 10_000)


async def try_key(
    client: Client, endpoint: Endpoint, models: Sequence[ChatModel], meter: UsageMeter
) -> Failure | None:
    """Whether a key works. The model list costs nothing, but some providers show it to anybody, and some
    have none: then an answer of one token tells, and ``meter`` what that took."""
    listed = await list_models(client, endpoint)
    if isinstance(listed, Failure):
        if listed.status not in (404, 405, 501) or not models:
            return listed
    elif not models or isinstance(await list_models(client, replace(endpoint, api_key=_NO_KEY)), Failure):
        return None
    model = min(models, key=lambda model: (model.output_price, model.name))
    call = ChatRequest("", model.name, _QUESTION, stream=False, params={"max_tokens": 1})
    meter.model = model
    with failover.attempted(meter.attempts, endpoint, model.name) as attempt:
        attempt.failure = await client.call(endpoint, call, meter.feed)
    if attempt.failure is not None and not meter.has_output:
        meter.reset_attempt()
    meter.well = attempt.failure is None
    return attempt.failure


def settle(tx: Transaction, meter: UsageMeter, user_id: int, month: Month) -> None:
    """Enter into the ledger what a try took."""
    if meter.model is not None:
        ledger.record_attempts(
            tx,
            AttemptOwner(kind="probe", user_id=user_id),
            meter.attempts,
            {meter.model.name: meter.model},
            meter.usage_cost(meter.model),
            first_at=meter.first_at,
            end_reason=meter.end_reason,
            month=month,
        )
