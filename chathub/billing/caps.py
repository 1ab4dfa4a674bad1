"""The cap on a reply's length, for chats and gateway requests. Where a format requires a length and none is
set, ``Quirks.default_max_tokens`` is sent."""


def reply_cap(requested: int | None, reserved: int | None, longest: int | None) -> int | None:
    """The ``max_tokens`` that goes to the provider; None: none is sent.

    ``requested`` is what the client requested, ``reserved`` what its budgets leave (None: no budget bounds
    it), ``longest`` the model's own limit (None or 0: not known), which caps what is sent but is never sent
    by itself. All in tokens.
    """
    caps = [cap for cap in (requested, reserved) if cap is not None]
    if not caps:
        return None
    return min([*caps, longest] if longest else caps)
