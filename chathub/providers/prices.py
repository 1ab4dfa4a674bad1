"""The prices of a model, and what tokens cost at them."""

from functools import reduce

from msgspec import Struct
from msgspec.structs import astuple

MILLION = 1_000_000
# the most that a reply is said to cost, in millionths: an absurd price times an absurd count would make the
# sums of the database overflow, and no settlement of that user could be stored any more
MOST_COST = 10**15


class Prices(Struct, frozen=True):
    """What a million tokens of each kind cost, in millionths of money.

    ``cached``: tokens of the prompt that the provider read from its cache; ``cache_write``: that it wrote to
    the cache; ``cache_write_1h``: that it wrote there to be kept for an hour.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    output: int = 0

    @classmethod
    def of(
        cls,
        input: int,
        output: int,
        cached: int | None = None,
        cache_write: int | None = None,
        cache_write_1h: int | None = None,
    ) -> "Prices":
        """Prices as a table has them: a price of the cache that is None is the input price."""
        read, written, kept = (
            input if price is None else price for price in (cached, cache_write, cache_write_1h)
        )
        return cls(input, read, written, kept, output)

    @classmethod
    def highest(cls, all_prices: "list[Prices]") -> "Prices":
        """Of each kind the highest."""
        return reduce(cls._or_higher, all_prices)

    def _or_higher(self, other: "Prices") -> "Prices":
        return Prices(*map(max, astuple(self), astuple(other)))

    @property
    def has_any(self) -> bool:
        """Whether tokens of some kind cost something."""
        return any(astuple(self))

    @property
    def prompt(self) -> int:
        """The most that a token of a prompt can cost: the provider may write it to its cache."""
        return max(self.input, self.cached, self.cache_write, self.cache_write_1h)

    def cost(
        self, prompt: int, completion: int, cached: int = 0, written: int = 0, written_for_1h: int = 0
    ) -> int:
        """The cost of a reply in millionths, rounded half up once.

        ``cached`` and ``written`` are the parts of the prompt that were read from and written to the cache;
        ``written_for_1h`` is a part of ``written``.
        """
        exact = (
            (prompt - cached - written) * self.input
            + cached * self.cached
            + (written - written_for_1h) * self.cache_write
            + written_for_1h * self.cache_write_1h
            + completion * self.output
        )
        return min((exact + MILLION // 2) // MILLION, MOST_COST)

    def most(self, prompt: int, completion: int) -> int:
        """The most that a reply can cost, rounded up: all of its prompt may be written to the cache."""
        return min(-(-(prompt * self.prompt + completion * self.output) // MILLION), MOST_COST)
