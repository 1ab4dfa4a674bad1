"""Which providers have OpenAI's Responses, as far as it was learned since the start.

A lesson that only some requests may have brought (a model that the provider does not know, a refused key)
counts for its user and model only. All are forgotten after a day: a provider may have been updated.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, NamedTuple

from chathub.formats.messages import Endpoint
from chathub.formats.quirks.table import quirks_of
from chathub.formats.responses.lacking import Lack
from chathub.formats.urls import hostname, place

_REMEMBERED = 1000
_DAY = 86_400.0

Having = Literal["unknown", "offered", "missing"]


class _Key(NamedTuple):
    """A base URL, and the model and the user for which a lesson counts: empty and 0 for all."""

    place: str
    model: str = ""
    user_id: int = 0


class LearnedResponses:
    """Remembers which base URLs have Responses, and which models there have none."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lessons: OrderedDict[_Key, tuple[Having, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lessons)

    def having(self, endpoint: Endpoint, model: str, user_id: int) -> Having:
        """Whether an endpoint has Responses for this model."""
        if endpoint.local or endpoint.wire_format != "openai":
            return "missing"
        known = quirks_of(hostname(endpoint.base_url), model).responses
        if known == "missing":
            return known
        at = place(endpoint.base_url)
        for key in (_Key(at, model, user_id), _Key(at)):
            having, learned_at = self._lessons.get(key, (known, self._clock()))
            if having != known and self._clock() - learned_at < _DAY:
                return having
        return known

    def learn_offered(self, endpoint: Endpoint, model: str, user_id: int) -> None:
        """Remember that a request of Responses was successful."""
        at = place(endpoint.base_url)
        self._lessons.pop(_Key(at, model, user_id), None)
        self._keep(_Key(at), "offered")

    def learn_missing(self, endpoint: Endpoint, model: str, user_id: int, lack: Lack) -> None:
        """Remember what was missing where the same request was accepted as one of Chat Completions."""
        at = place(endpoint.base_url)
        is_certain = quirks_of(hostname(endpoint.base_url), model).responses == "unknown" and lack == "path"
        self._keep(_Key(at) if is_certain else _Key(at, model, user_id), "missing")

    def _keep(self, key: _Key, having: Having) -> None:
        self._lessons[key] = having, self._clock()
        self._lessons.move_to_end(key)
        while len(self._lessons) > _REMEMBERED:
            self._lessons.popitem(last=False)
