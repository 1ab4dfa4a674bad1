"""What a client accepts (RFC 9110, 12.5): an HTML page, or a compressed file."""

from collections.abc import Iterator, Sequence


def accepts_html(accept: str) -> bool:
    """Whether an ``Accept`` header names ``text/html``, as a browser's does when it opens a page. ``*/*`` is
    what programs and the page's own requests send."""
    return any(name == "text/html" and weight > 0 for name, weight in _weighted(accept))


def best_codings(accept_encoding: str, offered: Sequence[str]) -> list[str]:
    """The codings of ``offered`` that an ``Accept-Encoding`` header accepts, the most wanted first; of equal
    ones that which is offered first. Those that it wants less than no coding are left out."""
    weights = dict(_weighted(accept_encoding))
    other = weights.get("*", 0.0)
    plain = weights.get("identity", 0.0)
    wanted = {coding: weights.get(coding, other) for coding in offered}
    good = [coding for coding in offered if wanted[coding] > 0 and wanted[coding] >= plain]
    return sorted(good, key=lambda coding: -wanted[coding])


def _weighted(header: str) -> Iterator[tuple[str, float]]:
    """Each element of a header in lower case, and its weight; a malformed one counts 0."""
    for element in header.lower().split(","):
        name, *parameters = (part.strip() for part in element.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                weight = _number(parameter[2:])
        yield name, weight


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0
