"""Reports about API keys: what each attempt means for the health of its API key."""

from functools import partial

from chathub.billing.settlement_queue import SettlementQueue
from chathub.clock import Clock
from chathub.formats.events import Failure
from chathub.formats.failure_class import reason_for
from chathub.formats.messages import Endpoint
from chathub.providers import key_pool
from chathub.providers.cooldowns import CallerCooldowns
from chathub.upstream.failover import Report


class KeyReports:
    """Records failures and successes of API keys, for all users or for one."""

    def __init__(self, cooldowns: CallerCooldowns, settlement_queue: SettlementQueue, clock: Clock) -> None:
        self._cooldowns = cooldowns
        self._settlement_queue = settlement_queue
        self._clock = clock

    def for_caller(self, user_id: int) -> Report:
        """A report for the attempts of one user's request."""
        return partial(self._report, user_id)

    def record_success(self, key_id: int, user_id: int) -> None:
        """Record that a reply was completed with an API key: its cooldown for this user ends."""
        self._cooldowns.record_success(key_id, user_id)

    async def _report(self, user_id: int, endpoint: Endpoint, failure: Failure | None) -> None:
        if failure is None or endpoint.key_id is None:
            return
        reason = reason_for(failure, None, [endpoint.api_key])
        now = self._clock.now()
        is_common = self._cooldowns.record_failure(endpoint, user_id, failure, now)
        store = partial(
            key_pool.record_failure,
            key_id=endpoint.key_id,
            failure=failure,
            reason=reason,
            now=now,
            is_common=is_common,
        )
        await self._settlement_queue.store_soon("key's state", store)
