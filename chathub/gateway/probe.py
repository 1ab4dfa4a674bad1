"""Requests to a provider about itself: whether an API key works, and which models it has."""

from collections.abc import Sequence

from msgspec.structs import replace

from chathub.billing import ledger
from chathub.billing.ledger import AttemptOwner
from chathub.billing.output_rates import OutputRates
from chathub.clock import Month
from chathub.database.transaction import Transaction
from chathub.formats.estimates import estimate_messages
from chathub.formats.events import Failure
from chathub.formats.failures.table import meaning_of
from chathub.formats.forwarding import headers_for
from chathub.formats.listed_model import ListedModel
from chathub.formats.messages import Attempt, ChatRequest, Endpoint, Message
from chathub.formats.registry import format_named
from chathub.gateway.usage_meter import UsageMeter
from chathub.metrics.metrics import ReplyCounts
from chathub.providers.candidates import Candidate
from chathub.providers.chat_model import ChatModel
from chathub.upstream import failover
from chathub.upstream.client import AttemptFailed, Client
from chathub.upstream.failover import Trial

# an API key that no provider has issued
_NO_KEY = "not-a-key"
_PROMPT = [Message("user", "hi")]


async def list_models(client: Client, endpoint: Endpoint) -> list[ListedModel] | Failure:
    """The provider's models, or why it did not list them."""
    try:
        async with client.lease(endpoint) as leased:
            url = format_named(leased.wire_format).models_url(leased.base_url)
            return await client.list_models(leased, url, headers_for(leased))
    except AttemptFailed as failed:
        return failed.failure
    except ValueError:
        return Failure.found("base_url_invalid", kind="unreachable")


def new_meter() -> UsageMeter:
    """The meter of a key test."""
    return UsageMeter(estimate_messages(_PROMPT), 10_000)


async def try_key(
    client: Client,
    endpoint: Endpoint,
    models: Sequence[ChatModel],
    meter: UsageMeter,
    *,
    needs_chat: bool = False,
) -> Failure | None:
    """Test whether an API key works; gives the failure if it does not.

    Listing models is free, but some providers list them for any key, some have no list, and some keys may not
    read it, which says nothing of their chats. For these, and with ``needs_chat``, the test is a chat of one
    token, which ``meter`` counts.
    """
    if not needs_chat:
        listed = await list_models(client, endpoint)
        if isinstance(listed, Failure):
            if not models or not _says_nothing_of_chats(listed):
                return listed
        elif not models or isinstance(await list_models(client, replace(endpoint, api_key=_NO_KEY)), Failure):
            return None
    model = min(models, key=lambda model: (model.prices.output, model.name))
    chat_request = ChatRequest("", model.upstream_name, _PROMPT, stream=False, params={"max_tokens": 1})
    meter.model = model

    async def prepare(_: Candidate) -> Trial:
        return failover.trial(client, chat_request, meter)

    failure = await failover.run([Candidate(model, (endpoint,))], prepare, _no_report)
    # a model that has nothing to say was reached with the key
    return None if failure is not None and failure.kind == "blank" else failure


def _says_nothing_of_chats(failure: Failure) -> bool:
    """Whether the list of models was refused in a way that says nothing of the API key."""
    return failure.status in (404, 405, 501) or meaning_of(failure).code in (
        "model_unavailable",
        "upstream_denied",
        "upstream_blocked",
    )


async def _no_report(attempt: Attempt) -> None:
    """The handler records the result of the test."""


def count(reply_counts: ReplyCounts, meter: UsageMeter, rates: OutputRates) -> None:
    """Count the usage of a key test in the metrics."""
    if meter.model is not None:
        reply_counts.record(
            meter.attempts,
            {meter.model.name: meter.model},
            meter.usage_cost(meter.model, rates, most=1),
            prompt_estimate=meter.prompt_estimate,
            first_at=meter.first_at,
        )


def settle(tx: Transaction, meter: UsageMeter, rates: OutputRates, user_id: int, month: Month) -> None:
    """Record the usage of a key test in the ledger."""
    if meter.model is not None:
        ledger.record_attempts(
            tx,
            AttemptOwner(kind="probe", user_id=user_id),
            meter.attempts,
            {meter.model.name: meter.model},
            meter.usage_cost(meter.model, rates, most=1),
            prompt_estimate=meter.prompt_estimate,
            first_at=meter.first_at,
            end_reason=meter.end_reason,
            month=month,
        )
