"""The front end's files for the event loop: one thread waits for the disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from chathub.frontend.folder import Folder, Index, OpenFile

P = ParamSpec("P")
T = TypeVar("T")

# bytes of a file in memory at once, for each client
_PIECE = 32_768


class FrontEnd:
    """A front end's folder. Its one thread also closes the files: never while it reads one."""

    def __init__(self, path: Path) -> None:
        self._folder = Folder(path)
        self._thread = ThreadPoolExecutor(1, "chathub-frontend")

    async def index(self) -> Index | None:
        """The page; None while there is none."""
        return await self._run(self._folder.read_index)

    async def has(self, names: Sequence[str]) -> bool:
        """Whether there is such a file."""
        return await self._run(self._folder.has, names)

    async def open(self, names: Sequence[str], accept_encoding: str) -> OpenFile | None:
        """The file of that name, compressed where the client accepts it. It is given back with ``close``."""
        opening = self._thread.submit(self._folder.open, names, accept_encoding)
        try:
            return await asyncio.shield(asyncio.wrap_future(opening))
        except asyncio.CancelledError:
            # the client left, and nobody else would close it
            opening.add_done_callback(_close_result)
            raise

    async def pieces(self, opened: OpenFile) -> AsyncIterator[bytes]:
        """The content, as long as it was when the file was opened.

        Raises:
            ConnectionError: the file became shorter. Its length was sent: only the end of the connection says
                that the content is not whole.
        """
        rest = opened.size
        while rest > 0:
            piece = await self._run(opened.file.read, min(rest, _PIECE))
            if not piece:
                raise ConnectionError("the file became shorter")
            rest -= len(piece)
            yield piece

    def close(self, opened: OpenFile) -> None:
        """Close a file. Must be called once for each that ``open`` gave."""
        try:
            self._thread.submit(opened.file.close)
        except RuntimeError:
            # the server ends, and the thread has ended
            opened.file.close()

    def end(self) -> None:
        """End the thread: the server ends."""
        self._thread.shutdown(wait=False)

    async def _run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: fn(*args, **kwargs))


def _close_result(opening: Future[OpenFile | None]) -> None:
    with contextlib.suppress(Exception):
        if opened := opening.result():
            opened.file.close()
