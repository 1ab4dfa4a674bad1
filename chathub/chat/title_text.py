"""The text of a conversation's title: one visible line, cut between whole characters.

One character of a reader may be several code points (Unicode Standard Annex 29): a letter with its marks, an
emoji with its skin tone, a family, a flag. A cut inside of it would show another character.
"""

import unicodedata

# code points
_LONGEST = 50
# code points of a message that are read for its title; the message may be much longer
_READ = 10_000
_ZERO_WIDTH_JOINER = "\u200d"
# embeddings, overrides and isolates: one that is not closed would reverse the text after the title
_DIRECTIONS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
# control characters (but not white space, which becomes a blank) and surrogates
_CONTROLS = dict.fromkeys(
    code for code in [*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)] if not chr(code).isspace()
)
# categories of code points that are visible by themselves; unassigned ones may be new emoji
_VISIBLE = ("L", "N", "P", "S", "Co", "Cn", "Mc")
# letters and symbols without a visible form: fillers of Hangul, the blank of Braille
_FILLERS = "\u115f\u1160\u2800\u3164\uffa0"
# code points besides marks that extend the character before them: joiners, skin tones, half-width voiced
# sound marks
_EXTENDING = ("\u200c", _ZERO_WIDTH_JOINER, *map(chr, range(0x1F3FB, 0x1F400)), "\uff9e", "\uff9f")
# code points that belong to the character after them: number signs of Arabic, Syriac and Kaithi
_PREPENDED = (*map(chr, range(0x0600, 0x0606)), "\u06dd", "\u070f", "\u08e2", "\U000110bd", "\U000110cd")
# the combining class of a virama: the consonant after it is written together with the one before it
_VIRAMA = 9


def title_of(text: str) -> str:
    """The title for a text; empty if the text has nothing visible."""
    line = " ".join(text[:_READ].translate(_CONTROLS | _DIRECTIONS).split())
    first = next((at for at, character in enumerate(line) if _is_visible(character)), None)
    return "" if first is None else _cut(line[first:]).rstrip()


def _is_visible(character: str) -> bool:
    if character in _PREPENDED:
        return True
    return unicodedata.category(character).startswith(_VISIBLE) and character not in _FILLERS


def _cut(line: str) -> str:
    """The longest beginning that ends between whole characters. If the first character alone is too long, it
    has so many marks that its first code point stands for it."""
    if len(line) <= _LONGEST:
        return line
    end = max((at for at in range(1, _LONGEST + 1) if _is_between(line, at)), default=1)
    return line[:end]


def _is_between(line: str, at: int) -> bool:
    """Whether one character ends before this index and another one begins there."""
    before, after = line[at - 1], line[at]
    if _extends(after):
        return False
    if before == _ZERO_WIDTH_JOINER or before in _PREPENDED:
        return after == " "
    if _is_regional(before) and _is_regional(after):
        # two regional indicators are a flag
        others = line[:at].rstrip("".join(map(chr, range(0x1F1E6, 0x1F200))))
        return (at - len(others)) % 2 == 0
    if unicodedata.combining(before) == _VIRAMA and unicodedata.category(after) == "Lo":
        return False
    return _hangul(after) not in _FOLLOWS.get(_hangul(before), "")


def _extends(character: str) -> bool:
    is_tag = "\U000e0020" <= character <= "\U000e007f"
    return is_tag or character in _EXTENDING or unicodedata.category(character) in ("Mn", "Mc", "Me")


def _is_regional(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


# in Hangul, the kinds that continue a character after a kind: leading consonants (L), vowels (V), trailing
# consonants (t), syllables without (S) and with (T) a trailing consonant
_FOLLOWS = {"L": "LVST", "V": "Vt", "S": "Vt", "t": "t", "T": "t"}


def _hangul(character: str) -> str:
    code = ord(character)
    if 0xAC00 <= code <= 0xD7A3:
        return "T" if (code - 0xAC00) % 28 else "S"
    for kind, first, last in (
        ("L", 0x1100, 0x115F),
        ("L", 0xA960, 0xA97C),
        ("V", 0x1160, 0x11A7),
        ("V", 0xD7B0, 0xD7C6),
        ("t", 0x11A8, 0x11FF),
        ("t", 0xD7CB, 0xD7FB),
    ):
        if first <= code <= last:
            return kind
    return "-"
