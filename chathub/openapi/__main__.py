"""Writes the files that describe the API: ``python -m chathub.openapi``."""

from pathlib import Path

from chathub.openapi.files import written

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs"


def main() -> None:
    for name, text in written().items():
        (FOLDER / name).write_text(text, "utf-8")


main()
