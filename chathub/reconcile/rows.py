"""A row of an export, and how its texts, counts, amounts and times are read."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal

from msgspec import Struct

from chathub.errors import StartError

# a plain number, also with an exponent of a few digits
_NUMBER = re.compile(r"[-+]?(?:\d{1,60}(?:\.\d{0,60})?|\.\d{1,60})(?:[eE][-+]?\d{1,2})?")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")
_DAY = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)")
_SIGNS = str.maketrans("", "", "$€¥￥' \u00a0\u202f")
# no provider charges more in one row
_MOST = 10**15


class Row(Struct, frozen=True):
    """One row: its fields by name in lower case, and its place for errors, such as ``cost.csv, line 3``."""

    place: str
    fields: Mapping[str, object]

    def text(self, name: str) -> str:
        """A text without blanks at its ends; empty where the row lacks the field."""
        value = self.fields.get(name)
        return "" if value is None else str(value).strip()

    def amount(self, name: str) -> Decimal | None:
        """A number with a decimal point or comma, with or without separators of thousands; None: empty."""
        if not (text := self.text(name)):
            return None
        plain = _plain(text)
        if not _NUMBER.fullmatch(plain):
            raise self.wrong(name, "is no number")
        number = Decimal(plain)
        if not -_MOST < number < _MOST:
            raise self.wrong(name, "is too large")
        return number

    def count(self, name: str) -> int | None:
        """A whole number of zero or more, which some exports write as ``12.0``; None: empty."""
        number = self.amount(name)
        if number is None:
            return None
        if number < 0 or number != int(number):
            raise self.wrong(name, "is no count")
        return int(number)

    def moment(self, name: str, zone: tzinfo = UTC) -> datetime:
        """A time: an ISO date or time, a date of eight digits, or Unix time. One without a zone is in
        ``zone``."""
        text = self.text(name)
        try:
            if text.isdigit() and len(text) in (10, 13):
                moment = datetime.fromtimestamp(int(text[:10]), UTC)
            else:
                moment = datetime.fromisoformat(_DAY.sub(_padded, text, count=1))
        except ValueError:
            raise self.wrong(name, "is no time") from None
        if not 2000 <= moment.year <= 2100:
            raise self.wrong(name, "is no time of this century")
        return moment if moment.tzinfo else moment.replace(tzinfo=zone)

    def wrong(self, name: str, why: str) -> StartError:
        """An error about a field. It repeats no value: a shifted column may hold an API key."""
        return StartError(f"{self.place}: {name} {why}")


def _padded(day: re.Match[str]) -> str:
    """A date as ISO has it, of one such as ``2026/7/1``."""
    return f"{day[1]}-{day[2]:>02}-{day[3]:>02}"


def _plain(text: str) -> str:
    """A number without signs of money and separators of thousands."""
    text = text.translate(_SIGNS)
    if "," not in text or _THOUSANDS.fullmatch(text):
        return text.replace(",", "")
    # a decimal comma, after points between thousands
    return text.replace(".", "").replace(",", ".")
