"""The finished files that describe the API, ``docs/openapi.json`` and ``docs/api.html``, for the server."""

import asyncio
import hashlib
from pathlib import Path
from typing import NamedTuple


class Document(NamedTuple):
    """A file, and the tag by which a client knows it again."""

    body: bytes
    etag: str


class Documents:
    """The files, each read when somebody first wants it, and kept."""

    def __init__(self) -> None:
        self._kept: dict[str, Document] = {}

    async def get(self, name: str) -> Document:
        """The file of that name.

        Raises:
            FileNotFoundError: the installation is incomplete.
        """
        if name not in self._kept:
            self._kept[name] = await asyncio.to_thread(_read, name)
        return self._kept[name]


def _read(name: str) -> Document:
    body = (_folder() / name).read_bytes()
    return Document(body, hashlib.sha256(body).hexdigest()[:32])


def _folder() -> Path:
    """The folder of the files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "docs"
    return installed if installed.is_dir() else package.parent / "docs"
