"""A CSV file of old rows. It has its name only when it is whole and on the disk.

Everything here waits for the disk.
"""

import contextlib
import csv
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import structs

from chathub.disk import flush, make_folder, unfinished
from chathub.retention.tables import OldRow, Span


class RowFile:
    """A file named after its table, the day of its last row, and its ids. The same rows give one file."""

    def __init__(self, folder: Path, table: str, span: Span) -> None:
        day = datetime.fromtimestamp(span.at // 1000, UTC).date()
        self._folder = folder
        self.path = folder / f"{table}-until-{day}-{span.first}-{span.last}.csv"
        self._unfinished = unfinished(self.path, "export")
        make_folder(folder)
        for left in folder.glob(f".{table}-*.unfinished-export"):
            # by a crash
            left.unlink(missing_ok=True)
        descriptor = os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file)
        self._has_head = False

    def write(self, rows: Sequence[OldRow]) -> None:
        """Write rows, behind a line with the names of their columns."""
        if not self._has_head:
            self._writer.writerow(rows[0].__struct_fields__)
            self._has_head = True
        self._writer.writerows(structs.astuple(row) for row in rows)

    def finish(self) -> None:
        """Bring the file to the disk, and give it its name."""
        self._file.close()
        flush(self._unfinished)
        self._unfinished.replace(self.path)
        flush(self._folder)

    def close(self) -> None:
        """Delete the file if it is not finished."""
        # on a full disk closing fails again, and what is there must not stay
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._unfinished.unlink(missing_ok=True)
