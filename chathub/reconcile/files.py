"""The tables of an export: a CSV or JSON file, or a ZIP archive of them, of any usual encoding.

Everything is bounded: the bytes of a file, also unpacked, and the rows.
"""

import codecs
import csv
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NoReturn

from msgspec import Struct

from chathub.errors import StartError
from chathub.reconcile.rows import Row

# bytes; the export of a busy month by request is some ten MiB
_MOST_BYTES = 256 * 2**20
# JSON is held in memory as a whole
_MOST_JSON_BYTES = 32 * 2**20
_MOST_ROWS = 2_000_000
_MOST_MEMBERS = 50
# where answers of APIs have their rows; OpenAI describes them as ``result`` and sends ``results``
_LISTS = ("data", "results", "result")
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class Table(Struct, frozen=True):
    """The names of a table's fields, in lower case, and its rows, which can be read once."""

    name: str
    fields: frozenset[str]
    rows: Iterable[Row]


@contextmanager
def reading_errors(name: str) -> Iterator[None]:
    """Turns what a malformed file raises while it is read into a StartError that names the file."""
    try:
        yield
    except csv.Error as error:
        raise StartError(f"{name} is no CSV file: {error}") from None
    except (UnicodeError, RecursionError):
        raise StartError(f"{name} is no text of a known encoding, or nested too deep") from None
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, RuntimeError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise StartError(f"{name} cannot be read: {reason}") from None


def tables_in(path: Path) -> Generator[Table, None, None]:
    """The tables of a file, one after the other; each must be read before the next one.

    Raises:
        StartError: the file is too large or no export.
    """
    with _opened(path) as file:
        if not zipfile.is_zipfile(file):
            yield from _table(path.name, file)
            return
        with zipfile.ZipFile(file) as archive:
            yield from _members(path.name, archive)


def digest_of(path: Path) -> bytes:
    """What tells a file's content from that of others.

    Raises:
        StartError: the file is too large, or cannot be read.
    """
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").digest()


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    with reading_errors(path.name), path.open("rb") as file:
        file.seek(0, io.SEEK_END)
        _check_size(path.name, file.tell())
        file.seek(0)
        yield file


def _members(name: str, archive: zipfile.ZipFile) -> Iterator[Table]:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > _MOST_MEMBERS:
        raise StartError(f"{name} has more than {_MOST_MEMBERS} files")
    for member in members:
        if not member.filename.lower().endswith((".csv", ".json", ".txt", ".tsv")):
            continue
        place = f"{name}/{member.filename}"
        # the archive's reader gives no more than this
        _check_size(place, member.file_size)
        with archive.open(member) as file:
            yield from _table(place, file)


def _check_size(name: str, size: int) -> None:
    if size > _MOST_BYTES:
        raise StartError(f"{name} is larger than {_MOST_BYTES // 2**20} MiB")
    if not size:
        raise StartError(f"{name} is empty")


def _table(name: str, file: IO[bytes]) -> Iterator[Table]:
    encoding = _encoding(file)
    file.seek(0)
    first = file.read(4096).decode(encoding, "ignore").lstrip("\ufeff \t\r\n")[:1]
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, newline="")
    try:
        with reading_errors(name):
            yield _json_table(name, text) if first in ("{", "[") else _csv_table(name, text)
    finally:
        # the file is closed by who opened it
        text.detach()


def _encoding(file: IO[bytes]) -> str:
    """UTF-8 or UTF-16 with or without a mark, else what a Chinese Excel writes."""
    file.seek(0)
    head = file.read(4096)
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding
    if 0 in head:
        # the upper half of a comma
        return "utf-16-be" if head.index(0) % 2 == 0 else "utf-16-le"
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(head)
        while part := file.read(2**20):
            decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "gb18030"
    return "utf-8"


def _csv_table(name: str, text: io.TextIOWrapper) -> Table:
    heading = ""
    line = 0
    while not heading.strip():
        line += 1
        if not (heading := text.readline(100_000)):
            raise StartError(f"{name} has no rows")
    delimiter = max(",\t;", key=heading.count)
    names = [cell.strip().lower() for cell in next(csv.reader([heading], delimiter=delimiter))]
    cells = csv.reader(text, delimiter=delimiter)
    return Table(name, frozenset(names), _csv_rows(name, names, line, cells))


def _csv_rows(name: str, names: list[str], first: int, reader: Any) -> Iterator[Row]:
    with reading_errors(name):
        for number, cells in enumerate(reader):
            place = f"{name}, line {first + reader.line_num}"
            _check_rows(name, number)
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                more = "more" if len(cells) > len(names) else "fewer"
                raise StartError(f"{place} has {more} cells than the first line has names")
            yield Row(place, dict(zip(names, cells, strict=True)))


def _check_rows(name: str, number: int) -> None:
    if number >= _MOST_ROWS:
        raise StartError(f"{name} has more than {_MOST_ROWS:,} rows")


def _json_table(name: str, text: io.TextIOWrapper) -> Table:
    content = text.read(_MOST_JSON_BYTES + 1)
    if len(content) > _MOST_JSON_BYTES:
        raise StartError(f"{name} is larger than {_MOST_JSON_BYTES // 2**20} MiB, which is too much JSON")
    try:
        value = json.loads(content, parse_float=Decimal, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise StartError(f"{name}, line {error.lineno}: this is no JSON: {error.msg}") from None
    except ValueError:
        # a number without end, or of thousands of digits
        raise StartError(f"{name} has numbers that JSON does not know, or too long ones") from None
    rows = []
    for number, row in enumerate(_json_rows(name, value)):
        _check_rows(name, number)
        rows.append(row)
    return Table(name, frozenset().union(*(row.fields for row in rows)), rows)


def _refuse(word: str) -> NoReturn:
    raise ValueError(word)


def _json_rows(place: str, value: object) -> Iterator[Row]:
    """The results of an API's answer: of its pages, of the buckets in a page, of the results in a bucket. A
    result has its bucket's fields too."""
    found, inner = value, ""
    if isinstance(value, dict):
        inner = next((key for key in _LISTS if isinstance(value.get(key), list)), "")
        found = value[inner] if inner else value
    if isinstance(found, list):
        outer = _flat(value, without=inner) if isinstance(value, dict) else {}
        if not found and outer:
            # a time without use
            yield Row(place, outer)
        for number, item in enumerate(found):
            for row in _json_rows(f"{place}{'.' if ', ' in place else ', '}{inner}[{number}]", item):
                yield Row(row.place, {**outer, **row.fields})
    elif isinstance(value, dict):
        yield Row(place, _flat(value))
    else:
        raise StartError(f"{place} is no object")


def _flat(value: dict[str, object], *, without: str = "") -> dict[str, object]:
    """The fields of an object, with those of objects in it as ``amount.value``."""
    flat: dict[str, object] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            flat |= {f"{key.lower()}.{inner}": each for inner, each in _flat(item).items()}
        elif key != without and not isinstance(item, list):
            flat[key.lower()] = item
    return flat
