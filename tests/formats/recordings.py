"""Recorded answers of real providers, from the folders that CHATHUB_RECORDINGS names (separated as in PATH).

They are other people's data and not part of the project. Beside each ``NAME.sse`` or ``NAME.json``
lies a ``NAME.expected.json``: what a correct reader gets out of it.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytest

FOLDERS = [Path(name) for name in os.environ.get("CHATHUB_RECORDINGS", "").split(os.pathsep) if name]


class Recording(NamedTuple):
    name: str
    body: bytes
    expected: dict[str, Any]

    @property
    def meta(self) -> dict[str, Any]:
        return self.expected["meta"]

    @property
    def status(self) -> int:
        return self.meta["http_status"]


def _load(folder: Path, suffix: str) -> list[Recording]:
    found = []
    for path in sorted(folder.rglob(f"*{suffix}")):
        expected = path.with_suffix(".expected.json")
        if not path.name.endswith(".expected.json") and expected.exists():
            name = str(path.relative_to(folder).with_suffix(""))
            found.append(Recording(name, path.read_bytes(), json.loads(expected.read_bytes())))
    return found


def recordings(suffix: str, provider_format: str = "openai") -> list[Recording]:
    """All recordings of a provider format whose file name ends in ``suffix``; none without a folder."""
    found = [recording for folder in FOLDERS for recording in _load(folder, suffix)]
    return [recording for recording in found if recording.meta["dialect"] == provider_format]


def parameters(found: list[Recording]) -> list[Any]:
    """For ``pytest.mark.parametrize``: one case each, or one skipped case that says why."""
    if not found:
        reason = "CHATHUB_RECORDINGS names no folder with recorded provider answers"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="none")]
    return [pytest.param(recording, id=recording.name) for recording in found]
