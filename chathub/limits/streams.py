"""How many replies one user may receive at once: each takes a connection."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from chathub.errors import TooManyRequests


class StreamLimit:
    """Counts the replies that each user receives at this moment."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[int] = Counter()

    @contextmanager
    def slot(self, user_id: int) -> Iterator[None]:
        """Count one more during the context.

        Raises:
            TooManyRequests: the user receives too many already.
        """
        if self._open[user_id] >= self._most:
            raise TooManyRequests("too_many_streams", most=self._most)
        self._open[user_id] += 1
        try:
            yield
        finally:
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]
