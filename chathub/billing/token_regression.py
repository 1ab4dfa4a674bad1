"""The weights of one model's tokens, learned from its reports: a recursive least-squares regression.

The weight of each part of a prompt (``estimates.Parts``) begins at what is usual, and is believed more with
every report that the part had a share in: a kind of prompt that was never reported keeps the usual weight.
"""

from typing import NamedTuple

from chathub.formats.estimates import Parts


class _Prior(NamedTuple):
    """A weight before the first report, how far off it may be, and the bounds of what reports make of it."""

    weight: float = 1.0
    deviation: float = 0.4
    least: float = 0.35
    most: float = 3.0


_USUAL = _Prior()
_UNUSUAL = {
    "messages": _Prior(deviation=1.0, least=0.0, most=10.0),
    "media": _Prior(deviation=1.0, least=0.02, most=40.0),
    # tokens: some providers put a few of their own before a prompt
    "request": _Prior(weight=3.0, deviation=10.0, least=0.0, most=100.0),
}
_PRIORS = tuple(_UNUSUAL.get(name, _USUAL) for name in Parts._fields)
_SIZE = len(_PRIORS)
# how far single reports are off, as a part of their count; how fast old reports are forgotten
_NOISE, _DRIFT = 0.05, 1e-5
# a report that is further off, as a part of its count, counts only so far
_SURPRISE = 0.5
# reports that cannot be: so many times more or less than usual, and some tokens besides
_ABSURD, _FEW = 3, 50


class Weights:
    """The weights, and the covariance of what is not known of them (the upper triangle is enough)."""

    __slots__ = ("covariance", "reports", "weights")

    def __init__(self) -> None:
        self.weights = [prior.weight for prior in _PRIORS]
        self.covariance = [
            [prior.deviation**2 if row == column else 0.0 for column in range(_SIZE)]
            for row, prior in enumerate(_PRIORS)
        ]
        self.reports = 0

    @classmethod
    def loaded(cls, state: list[float]) -> "Weights | None":
        """The weights of a ``state``; None if it is of another version."""
        if len(state) != 1 + _SIZE + _SIZE * _SIZE:
            return None
        self = cls()
        self.reports = int(state[0])
        self.weights = state[1 : 1 + _SIZE]
        rest = state[1 + _SIZE :]
        self.covariance = [rest[at : at + _SIZE] for at in range(0, _SIZE * _SIZE, _SIZE)]
        return self

    @property
    def state(self) -> list[float]:
        """All of it as numbers, to be stored."""
        return [float(self.reports), *self.weights, *(value for row in self.covariance for value in row)]

    def tokens(self, parts: Parts) -> float:
        """The tokens of a prompt by these weights."""
        return sum(map(float.__mul__, self.weights, parts))

    def learn(self, parts: Parts, reported: int) -> bool:
        """Adjust the weights to a provider's count; false if it cannot be true."""
        usual = sum(parts)
        if reported < 1 or not usual / _ABSURD - _FEW <= reported <= usual * _ABSURD + _FEW:
            return False
        size = max(float(reported), usual)
        shares = [part / size for part in parts]
        spread = [sum(map(float.__mul__, row, shares)) for row in self.covariance]
        variance = _NOISE**2 + sum(map(float.__mul__, spread, shares))
        surprise = (reported - self.tokens(parts)) / size
        surprise = max(-_SURPRISE, min(surprise, _SURPRISE))
        gain = [value / variance for value in spread]
        for row in range(_SIZE):
            prior = _PRIORS[row]
            moved = self.weights[row] + gain[row] * surprise
            self.weights[row] = max(prior.least, min(moved, prior.most))
            old = self.covariance[row]
            for column in range(_SIZE):
                old[column] -= gain[row] * spread[column]
            old[row] = min(max(old[row], 0.0) + _DRIFT * prior.deviation**2, prior.deviation**2)
        self.reports += 1
        return True
