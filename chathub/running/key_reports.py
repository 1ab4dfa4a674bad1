"""Reports about API keys: what each attempt means for the health of its API key."""

from functools import partial
from itertools import zip_longest

from chathub.billing.settlement_queue import SettlementQueue
from chathub.clock import Clock
from chathub.formats.failures.sentences import words_for
from chathub.formats.failures.table import Meaning, meaning_of
from chathub.formats.messages import Attempt
from chathub.providers import key_pool
from chathub.providers.affinity import Affinity
from chathub.providers.candidates import Candidates, record_place, record_target
from chathub.providers.catalog import Catalog
from chathub.providers.cooldowns import LONGEST_NAME, CallerCooldowns
from chathub.providers.key_pool import KeyFailure
from chathub.upstream.failover import Report


class KeyReports:
    """Records failures and successes of API keys, for all users or for one."""

    def __init__(
        self,
        cooldowns: CallerCooldowns,
        settlement_queue: SettlementQueue,
        clock: Clock,
        catalog: Catalog,
        affinities: Affinity,
    ) -> None:
        self._cooldowns = cooldowns
        self._settlement_queue = settlement_queue
        self._clock = clock
        self._catalog = catalog
        self._affinities = affinities

    def for_request(self, user_id: int, candidates: Candidates) -> Report:
        """A report for the attempts of one user's request."""
        return partial(self._report, user_id, candidates)

    def record_success(self, key_id: int, user_id: int, model: str) -> None:
        """Record that a reply was completed with an API key: its cooldown for this user ends."""
        self._cooldowns.record_success(key_id, user_id, model[:LONGEST_NAME])

    async def _report(self, user_id: int, candidates: Candidates, attempt: Attempt) -> None:
        failure, endpoint, model = attempt.failure, attempt.endpoint, attempt.model[:LONGEST_NAME]
        if failure is None:
            return
        self._move(candidates, attempt, meaning_of(failure))
        if endpoint.key_id is None:
            return
        # the owner reads it, whoever met it
        reason = words_for(failure, None, [endpoint.api_key])
        now, is_listed = self._clock.now(), self._catalog.is_listed(model)
        is_common = self._cooldowns.record_failure(
            endpoint, user_id, failure, now, model, is_listed=is_listed
        )
        key_failure = KeyFailure(endpoint.key_id, model, failure, reason, is_common)
        store = partial(key_pool.record_failure, key_failure=key_failure, now=now)
        await self._settlement_queue.store_soon("key's state", store)

    def _move(self, candidates: Candidates, attempt: Attempt, meaning: Meaning) -> None:
        """The conversation moves to the endpoint that is tried next, or to the next target of its alias, and
        stays there: its prompt is in that provider's cache from then on."""
        if meaning.next_step == "stop" or meaning.about == "nothing":
            return
        affinity, in_order = candidates.affinity, candidates.in_order
        for candidate, behind in zip_longest(in_order, in_order[1:]):
            if candidate.model_name != attempt.model:
                continue
            following = candidate.after(attempt.endpoint) if meaning.next_step == "endpoint" else None
            if following is not None:
                record_place(self._affinities, affinity, candidate, following)
            elif behind is not None and behind.pool == candidate.pool:
                record_target(self._affinities, affinity, behind)
