"""The health of an API key, and what a failure does to it."""

from collections.abc import Iterable

from msgspec import Struct

from chathub.clock import DAY
from chathub.database.rows.api_keys import Health, PooledApiKey
from chathub.formats.events import Failure
from chathub.formats.failures.details import RETRY_LIMIT
from chathub.formats.failures.table import Rest, meaning_of

# milliseconds of the longest pause: as long as a provider's Retry-After may be, and of one that lasts until
# the date that the provider named (a monthly limit)
_LONGEST = round(RETRY_LIMIT * 1000)
_LONGEST_TO_DATE = 40 * DAY


class KeyHealth(Struct, frozen=True):
    """The health of an API key, for all models or for one: the end of its pause (milliseconds), the class of
    its last failure, and how many failures came in a row."""

    health: str = "ok"
    until: int = 0
    failure_class: str = ""
    in_row: int = 0

    @classmethod
    def of(cls, row: Health | PooledApiKey) -> "KeyHealth":
        return cls(row.health, row.cooldown_until, row.failure_class, row.failures_in_row)

    @classmethod
    def for_model(cls, row: PooledApiKey) -> "KeyHealth":
        """The rest of an API key for the model that was asked for."""
        return cls("cooling", row.model_until, row.model_failure_class) if row.model_until else cls()

    def is_paused(self, now: int) -> bool:
        """Whether the API key is in a pause, also one that only puts it behind the others. A pause that ends
        later than any pause can was written before the clock was set back, and is ignored."""
        longest = _LONGEST_TO_DATE if self.failure_class == "no_credit" else _LONGEST
        return now < self.until <= now + longest

    def is_usable(self, now: int) -> bool:
        return self.health != "broken" and not self.is_paused(now)

    def is_deprioritised(self, now: int) -> bool:
        """Whether a transient failure puts the API key behind the others."""
        return self.health == "ok" and self.is_paused(now)

    def after(self, failure: Failure, now: int) -> "KeyHealth":
        """The health after a failed attempt; unchanged by a failure that says nothing of the key."""
        meaning, in_row = meaning_of(failure), self.in_row + 1
        if meaning.failure_class == "invalid_key":
            return KeyHealth("broken", 0, meaning.failure_class, in_row)
        if meaning.rest is None:
            return self
        wait = _pause(failure, meaning.rest, in_row)
        if meaning.failure_class == "no_credit":
            # a date in any other error may be anything, such as the day on which a model is retired
            wait = _until_renewal(failure, now) or wait
        until = now + wait
        # a transient failure only puts the API key behind the others
        is_transient = meaning.failure_class in ("transient", "timeout", "cut")
        if self.until > until and self.is_paused(now):
            # a longer pause that has begun is kept
            return KeyHealth(self.health, self.until, meaning.failure_class, in_row)
        return KeyHealth("ok" if is_transient else "cooling", until, meaning.failure_class, in_row)


def _pause(failure: Failure, rest: Rest, in_row: int) -> int:
    """The milliseconds of a pause: as long as the provider said, or longer each time."""
    wait = min(rest.longest, rest.first << min(in_row - 1, 20))
    if failure.retry_after is None:
        return wait
    retry_after = round(failure.retry_after * 1000)
    # credit does not come back within the seconds that a rate limit names
    return max(wait, retry_after) if rest.is_least else retry_after


def _until_renewal(failure: Failure, now: int) -> int:
    """The milliseconds until the moment that the provider named; 0 if it named none that can be meant."""
    wait = round((failure.regains_at or 0) * 1000) - now
    return wait if 0 < wait <= _LONGEST_TO_DATE else 0


_WELL = KeyHealth()


def worst(healths: Iterable[KeyHealth], now: int) -> KeyHealth:
    """Of several healths the one that restricts the use of an API key most, or for longest."""

    def gravity(key_health: KeyHealth) -> tuple[bool, bool, bool, int]:
        is_broken, is_paused = key_health.health == "broken", key_health.is_paused(now)
        return is_broken, is_paused and key_health.health == "cooling", is_paused, key_health.until

    return max((health for health in healths if health != _WELL), key=gravity, default=_WELL)
