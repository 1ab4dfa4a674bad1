"""For how long conversations, and rows of the audit and the ledger, are kept."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# days; the current month and the one before, which bills are compared with
_LEDGER_LEAST = 62
_MOST = 36_500


@dataclass(frozen=True)
class RetentionSettings:
    """Days, counted from the last change of a conversation; 0: for ever. Rows of the audit and the ledger are
    written to a file in ``folder`` before they go (None: ``exports`` beside the database)."""

    conversation_days: int = 0
    audit_days: int = 0
    ledger_days: int = 0
    folder: Path | None = None

    @property
    def is_limited(self) -> bool:
        return bool(self.conversation_days or self.audit_days or self.ledger_days)

    def folder_beside(self, database: Path) -> Path:
        """The folder for the files."""
        return self.folder or database.parent / "exports"


def _days(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        days = int(text) if re.fullmatch(r"[0-9]{1,6}", text) else -1
        if days and not least <= days <= _MOST:
            raise ValueError(f"must be 0, or a whole number of days from {least} to {_MOST}")
        return days

    return read


# environment variable → (field, reader)
VARIABLES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "CHATHUB_CONVERSATION_DAYS": ("conversation_days", _days(1)),
    "CHATHUB_AUDIT_DAYS": ("audit_days", _days(1)),
    "CHATHUB_LEDGER_DAYS": ("ledger_days", _days(_LEDGER_LEAST)),
    "CHATHUB_EXPORT_DIR": ("folder", Path),
}


def read(environ: Mapping[str, str]) -> RetentionSettings:
    """The settings of the environment.

    Raises:
        ValueError: naming the variable with a wrong value.
    """
    found: dict[str, Any] = {}
    for variable, (name, read_value) in VARIABLES.items():
        if text := environ.get(variable, ""):
            try:
                found[name] = read_value(text)
            except ValueError as error:
                raise ValueError(f"{variable} {error}") from None
    return RetentionSettings(**found)
