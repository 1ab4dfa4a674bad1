"""Slows down the guessing of passwords: per account from one address, and more loosely per address."""

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chathub.clock import Clock
from chathub.config import Network
from chathub.errors import TooManyRequests

# attempts for one account from one address that may be under way together
_AT_ONCE = 20


@dataclass
class _Record:
    failures: int
    last: float
    blocked_until: float = 0.0


class LoginThrottle:
    """After some failures within ``window`` seconds each further one doubles the wait, up to 15 minutes.

    A household behind one address is not locked out by one of its members, and nobody can lock an
    account for other addresses.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        per_account: int = 5,
        per_address: int = 50,
        window: float = 300,
        bound: int = 10_000,
    ) -> None:
        self._clock = clock
        self._limits = {"account": per_account, "address": per_address}
        self._window = window
        self._bound = bound
        self._under_way: Counter[tuple[str, str]] = Counter()
        self._records: OrderedDict[tuple[str, ...], _Record] = OrderedDict()

    def admit(self, address: str, account: str) -> None:
        """Let an attempt pass; ``failed`` or ``succeeded`` must follow. Only so many may be under way at
        once, so that a burst of guesses gets no further than that.

        Raises:
            TooManyRequests: with the seconds to wait.
        """
        now = self._clock.seconds()
        for key in self._keys(address, account):
            record = self._records.get(key)
            if record and record.blocked_until > now:
                wait = record.blocked_until - now
                raise TooManyRequests(f"登录失败次数过多，请在 {int(wait) + 1} 秒后再试", retry_after=wait)
        if self._under_way[account, address] >= _AT_ONCE:
            raise TooManyRequests("登录请求过多，请稍后再试", retry_after=2)
        self._under_way[account, address] += 1

    def failed(self, address: str, account: str) -> None:
        """The attempt was a wrong one."""
        self._done(address, account)
        now = self._clock.seconds()
        for key in self._keys(address, account):
            self._count(key, now)
        while len(self._records) > self._bound:
            self._records.popitem(last=False)

    def succeeded(self, address: str, account: str) -> None:
        """The right password clears the account's record, not the address's."""
        self._done(address, account)
        self._records.pop(self._keys(address, account)[0], None)

    def _done(self, address: str, account: str) -> None:
        self._under_way[account, address] -= 1
        if self._under_way[account, address] <= 0:
            del self._under_way[account, address]

    def _count(self, key: tuple[str, ...], now: float) -> None:
        record = self._records.pop(key, None)
        if record is None or now - max(record.last, record.blocked_until) > self._window:
            record = _Record(0, now)
        record.failures += 1
        record.last = now
        excess = record.failures - self._limits[key[0]]
        if excess >= 0:
            record.blocked_until = now + min(900.0, 15.0 * 2 ** min(excess, 10))
        self._records[key] = record

    @staticmethod
    def _keys(address: str, account: str) -> tuple[tuple[str, ...], ...]:
        return ("account", address, account), ("address", address)


def client_address(peer: str | None, headers: Mapping[str, str], proxies: Iterable[Network]) -> str:
    """The address a request came from. ``X-Forwarded-For`` is believed from trusted proxies only, and
    there from the right: what stands further left anyone may have written."""
    address = peer or ""
    trusted = tuple(proxies)
    hops = [hop.strip() for hop in headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    while hops and is_in(address, trusted):
        address = hops.pop()
    return address


def is_in(address: str, networks: tuple[Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
