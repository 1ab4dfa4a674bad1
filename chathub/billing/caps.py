"""The lengths of replies in tokens: the cap that is sent, for chats and gateway requests, the longest that is
reserved, and the room that is kept in the window. Where a format requires a length and none is set,
``Quirks.default_max_tokens`` is sent."""

from collections.abc import Sequence

# a reply without a length limit
DEFAULT_REPLY_TOKENS = 4096


def reply_cap(requested: int | None, reserved: int | None, longest: int | None) -> int | None:
    """The ``max_tokens`` that goes to the provider; None: none is sent.

    ``requested`` is what the client requested, ``reserved`` what its budgets leave (None: no budget bounds
    it), ``longest`` the model's own limit (None or 0: not known), which caps what is sent but is never sent
    by itself.
    """
    caps = [cap for cap in (requested, reserved) if cap is not None]
    if not caps:
        return None
    return min([*caps, longest] if longest else caps)


def gateway_cap(requested: int | None, reserved: int | None, longest: int | None) -> int | None:
    """The same for a program's request; None: it goes out with the length that it has. Where no budget bounds
    it, that is for the provider to judge."""
    return None if reserved is None else reply_cap(requested, reserved, longest)


def longest_reply(requested: int | None, limits: Sequence[int | None]) -> int:
    """The longest reply of any of some models by their own ``limits``: one without a known limit takes any
    requested length."""
    longest = max(limit or DEFAULT_REPLY_TOKENS for limit in limits)
    if requested is None:
        return longest
    return min(requested, longest) if all(limits) else requested


def reply_room(sent: int | None, longest: int | None) -> int:
    """How much of the window to keep free for a reply, by the ``max_tokens`` that is sent and the model's own
    limit (None: none)."""
    return sent or min(longest or DEFAULT_REPLY_TOKENS, DEFAULT_REPLY_TOKENS)
