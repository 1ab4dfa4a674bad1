"""The API document as data: its headings, tables and examples, for tests that hold it to the server."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "api.zh-CN.md"
UNITS = {"KiB": 1024, "MiB": 1024**2, "天": 86_400}
_NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:\^\d+)?"


class Table(NamedTuple):
    """A table's head and rows, as cells of Markdown."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Field(NamedTuple):
    """What a table says of a field: ``kind`` is the document's word for its type, ``lowest`` and ``highest``
    bound a number or a length, ``words`` are all values that there are."""

    name: str
    kind: str
    lowest: float | None = None
    highest: float | None = None
    words: tuple[str, ...] = ()
    required: bool = False


@cache
def sections() -> dict[str, str]:
    """The text under each heading, up to the next heading of any level."""
    parts = re.split(r"^#+ (.+)$", DOCUMENT.read_text("utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def endpoints() -> dict[tuple[str, str], str]:
    """The text of each heading that is a method and a path, in the order of the document."""
    found = {}
    for heading, text in sections().items():
        if match := re.fullmatch(r"([A-Z]+) (/\S+)", heading):
            found[match[1], match[2]] = text
    return found


def tables(text: str) -> list[Table]:
    found = []
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        rows = [_cells(line) for line in block.splitlines()]
        found.append(Table(rows[0], rows[2:]))
    return found


def table(text: str, first: str) -> Table:
    """The table whose first head begins so."""
    (found,) = [it for it in tables(text) if it.head[0].startswith(first)]
    return found


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def codes(cell: str) -> list[str]:
    """What stands in back-ticks."""
    return re.findall(r"`([^`]+)`", cell)


def number(text: str) -> float:
    base, _, power = text.replace(",", "").partition("^")
    return float(base) ** int(power or 1)


def numbers(text: str) -> list[float]:
    """All numbers of a text, each in the unit that follows it."""
    found = re.findall(rf"({_NUMBER})(?: ?(KiB|MiB|天))?", text)
    return [number(figure) * UNITS.get(unit, 1) for figure, unit in found]


def fields(table: Table) -> Iterator[Field]:
    """The fields of a table; those without a bound too."""
    for row in table.rows:
        required = len(row) > 2 and row[2].startswith("必填")
        for name in codes(row[0]):
            yield _field(name, row[1])._replace(required=required)


def _field(name: str, cell: str) -> Field:
    # what follows are remarks, or another way to write it
    rule = re.split(r"[；：]", cell)[0]
    kind = next((it for it in ("字符串", "整数", "数字", "布尔", "数组") if rule.startswith(it)), "")
    if rule.startswith("`"):
        return Field(name, "词", words=tuple(codes(rule)))
    if span := re.search(rf"({_NUMBER})–({_NUMBER})", rule):
        return Field(name, kind, number(span[1]), number(span[2]))
    if both := re.search(rf"±({_NUMBER})", rule):
        return Field(name, kind, -number(both[1]), number(both[1]))
    most = re.search(rf"至多 ({_NUMBER})(?![\d,]| ?(?:KiB|字节))", rule)
    least = re.search(rf"至少 ({_NUMBER}) 个字符", rule)
    return Field(name, kind, number(least[1]) if least else None, number(most[1]) if most else None)


def examples(text: str) -> list[Any]:
    """The examples of JSON that are whole, in order."""
    found = []
    for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        try:
            found.append(json.loads(block))
        except ValueError:
            assert "…" in block, f"no JSON: {block}"
    return found
