"""What a crash leaves of running requests: their reservations, which become entries of the ledger."""

from typing import Literal

from msgspec import Struct

from chathub.billing import ledger
from chathub.billing.early_ends import Seen, output_until
from chathub.billing.ledger import AttemptOwner, UsageCost, compute_cost
from chathub.billing.output_rates import OutputRates
from chathub.clock import Month
from chathub.database.rows.budgets import GatewayKind, LeftReservation
from chathub.database.transaction import Transaction
from chathub.formats.events import Units
from chathub.providers.candidates import Candidates
from chathub.providers.catalog import Catalog
from chathub.providers.chat_model import ChatModel

END_REASON = "interrupted"


class Asked(Struct, frozen=True):
    """What a reservation is for, as far as it counts after a crash: the model and the API key that come
    first, the tokens of the prompt, and the units with their attributes."""

    kind: Literal["chat"] | GatewayKind
    provider: str
    model: str
    requested_model: str
    key_id: int | None
    prompt_tokens: int
    unit: str = ""
    units: int = 0

    @classmethod
    def of(
        cls, kind: GatewayKind, candidates: Candidates, prompt: int, units: Units | None = None
    ) -> "Asked":
        model, key_id = candidates.model, candidates.first_key_id
        unit, count = (units.name, units.count) if units else ("", 0)
        return cls(kind, model.provider_slug, model.name, candidates.requested, key_id, prompt, unit, count)


class Crash(Struct, frozen=True):
    """When the last process was seen to run (milliseconds), and what is known of the models: their output,
    and their prices, which are today's: those of then are not stored."""

    alive_until: int
    rates: OutputRates
    catalog: Catalog

    def cost_of(
        self, model: ChatModel, left: LeftReservation, seen: Seen, *, is_streamed: bool = True
    ) -> UsageCost:
        """What a request has used whose reservation was left. It counts as sent: a reservation is made a
        moment before."""
        seconds, most = max(0, self.alive_until - left.at) / 1000, left.tokens - left.prompt_tokens
        output = output_until(model, seconds, seen, self.rates, most, is_streamed=is_streamed)
        units = Units.named(left.unit, left.units) if left.unit else None
        return compute_cost(model, None, seen.prompt, output, seen.reasoning, units=units, was_sent=True)


def record(tx: Transaction, left: LeftReservation, crash: Crash, month: Month) -> None:
    """Enter a request in the ledger of which a crash has left the reservation only: what came of its reply is
    not known."""
    if left.kind is None:
        # an older version has not kept what it was for
        return
    model = crash.catalog.get_charged(left.provider, left.model)
    attempt_owner = AttemptOwner(
        kind=left.kind,
        user_id=left.user_id,
        token_id=left.token_id,
        requested_model=left.requested_model,
    )
    ledger.record_attempt(
        tx,
        attempt_owner,
        model,
        crash.cost_of(model, left, Seen(left.prompt_tokens), is_streamed=False),
        month,
        key_id=left.key_id,
        end_reason=END_REASON,
    )
