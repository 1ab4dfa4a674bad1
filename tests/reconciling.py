"""Shared by the tests of ``chathub reconcile``: the command in this process."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from chathub.commands.reconcile import add_reconcile_flags, reconcile
from chathub.config import Config


class Ran(NamedTuple):
    code: int
    output: str

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.output)
        return found


class Command:
    """``chathub reconcile`` in this process, on a file that a test writes."""

    def __init__(self, config: Config, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._config = config
        self._folder = folder
        self._capsys = capsys

    def __call__(self, content: bytes | str, *flags: str, also: bytes = b"") -> Ran:
        """Compare with the provider ``maker``, as JSON unless the flags say otherwise."""
        files = []
        for number, part in enumerate([content, also][: 2 if also else 1]):
            # the name tells nothing
            files.append(self._folder / f"export{number}")
            files[-1].write_bytes(part if isinstance(part, bytes) else part.encode())
        parser = ArgumentParser()
        add_reconcile_flags(parser)
        arguments = parser.parse_args([*map(str, files), *(flags or ("--provider", "maker", "--json"))])
        self._capsys.readouterr()
        code = reconcile(self._config, arguments)
        return Ran(code, self._capsys.readouterr().out)
