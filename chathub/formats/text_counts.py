"""What texts are made of, as far as their tokens depend on it: counted by class of characters, in C.

Tokenizers split a text at changes between letters, digits and punctuation, and know common words whole. How
many tokens a class makes stands in ``estimates``.
"""

import re
from operator import add, mul
from typing import NamedTuple

# bytes of a text that are counted at once: a search holds the interpreter's lock
_PIECE = 65_536

# classes of bytes: small letters, capitals and digits, blanks and line ends, the rest of ASCII
_SMALL, _STRONG, _BLANK, _MARK = b"a", b"A", b" ", b"!"
_LONG_RUN, _INDENT = _SMALL * 6, _BLANK * 4
_ASCII, _NON_ASCII = bytes(range(0x80)), bytes(range(0x80, 0x100))
# first bytes of characters of two bytes, of those that are Latin (U+0080 to U+024F, about), and of four
_TWO, _LATIN, _FOUR = bytes(range(0xC2, 0xE0)), bytes(range(0xC2, 0xCA)), bytes(range(0xF0, 0xF5))
_ESCAPE = b"\\u"


def _class_of(byte: int) -> bytes:
    character = chr(byte)
    if character in " \n\t":
        return _BLANK
    if character.isascii() and character.isalnum():
        return _SMALL if character.islower() else _STRONG
    return _MARK


_CLASSES = b"".join(map(_class_of, range(256)))


def _in_rows(codec: str, first: int, last: int) -> str:
    """The characters in some rows of a character set with two bytes a character."""
    pairs = (bytes((row, cell)) for row in range(first, last + 1) for cell in range(0x40, 0xFF))
    return b"".join(pairs).decode(codec, "ignore")


def _common_hangul() -> str:
    """Syllables without rare letters, of which nearly all of Korean is made."""
    return "".join(
        chr(0xAC00 + (first * 21 + vowel) * 28 + last)
        for first in (0, 2, 3, 5, 6, 7, 9, 11, 12, 14, 15, 16, 17, 18)
        for vowel in (0, 1, 4, 5, 6, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19, 20)
        for last in (0, 1, 4, 7, 8, 16, 17, 19, 20, 21)
    )


# the levels of the national character sets that hold the characters in daily use: mainland, Taiwan, Japan
_HAN = _in_rows("gb2312", 0xB0, 0xD7) + _in_rows("big5", 0xA4, 0xC6) + _in_rows("euc_jp", 0xB0, 0xCF)
# quotation marks and dashes, Vietnamese, and the punctuation, kana and full-width letters of East Asia
_RANGES = (
    "\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u2026\u1ea0-\u1ef9\u3000-\u3015\u3041-\u30ff\uff01-\uff5e"
)
_wide = "".join(sorted({each for each in _HAN + _common_hangul() if each > "\u0800"}))
# with all characters of one and two bytes, so that a usual text is one match
_COMMON = re.compile(f"[\x80-\u07ff{_RANGES}{_wide}]+")


class Counts(NamedTuple):
    """Characters of a text by class, and what breaks words into more tokens.

    ``plain`` are small letters and blanks, ``strong`` capitals and digits, ``marks`` the rest of ASCII;
    ``long_runs`` are runs of six small letters, ``breaks`` capitals or digits after a small letter,
    ``indents`` runs of four blanks. ``common`` are common characters of East Asia, ``latin`` other letters of
    Latin. Of everything else they are the UTF-8 bytes, by how many a character takes.
    """

    plain: float = 0
    strong: float = 0
    marks: float = 0
    long_runs: float = 0
    breaks: float = 0
    indents: float = 0
    common: float = 0
    latin: float = 0
    of_two: float = 0
    of_three: float = 0
    of_four: float = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*map(add, self, other))

    def weighted(self, weights: "Counts") -> float:
        """The sum of the counts times their weights."""
        total: float = sum(map(mul, self, weights))
        return total

    @property
    def ascii(self) -> float:
        return self.plain + self.strong + self.marks


NOTHING = Counts()


def counts_of_text(text: str) -> Counts:
    """The counts of a text."""
    return _counts_of_utf8(text.encode("utf-8", "surrogatepass"))


def counts_of_json(data: bytes) -> Counts:
    """The counts of JSON in UTF-8, with what its escapes stand for: some clients write all but ASCII so."""
    if _ESCAPE not in data:
        return _counts_of_utf8(data)
    if data.isascii():
        text = data.decode("raw_unicode_escape", "replace")
        # two escapes may make one character
        return counts_of_text(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    counts = _counts_of_utf8(data)
    # at most so many bytes each; few clients mix both ways
    return counts._replace(of_three=counts.of_three + 3 * data.count(_ESCAPE))


def _counts_of_utf8(data: bytes) -> Counts:
    if len(data) <= _PIECE:
        return _counts(data)
    total = NOTHING
    for at in range(0, len(data), _PIECE):
        total = total.plus(_counts(data[at : at + _PIECE]))
    return total


def _counts(data: bytes) -> Counts:
    classes = data.translate(_CLASSES, _NON_ASCII)
    count = classes.count
    strong, marks = count(_STRONG), count(_MARK)
    # few are seldom breaks, and looking for them takes long
    breaks = count(_SMALL + _STRONG) if strong * 8 > len(classes) else 0
    counts = Counts(len(classes) - strong - marks, strong, marks, count(_LONG_RUN), breaks, count(_INDENT))
    return counts if len(classes) == len(data) else _with_wide(counts, data.translate(None, _ASCII))


def _with_wide(counts: Counts, data: bytes) -> Counts:
    """The counts with those of the characters beyond ASCII; one is cut at the end of a piece."""
    latin, two, four = (len(data) - len(data.translate(None, firsts)) for firsts in (_LATIN, _TWO, _FOUR))
    common = max(0, sum(map(len, _COMMON.findall(data.decode("utf-8", "replace")))) - two)
    return counts._replace(
        common=common,
        latin=latin,
        of_two=2 * (two - latin),
        of_three=max(0, len(data) - 3 * common - 2 * two - 4 * four),
        of_four=4 * four,
    )
