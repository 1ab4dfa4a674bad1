"""A title is one line of at most 50 visible code points and is cut between whole characters."""

import unicodedata

import pytest

from chathub.chat.title_text import title_of

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
# each is one character to a reader
WHOLE = [
    "é",
    "e\u0301",
    "a\u0300\u0301\u0302\u0303",
    FAMILY,
    # a heart on fire, a dark waving hand, a woman of a skin tone at a computer
    "\u2764\ufe0f\u200d\U0001f525",
    "\U0001f44b\U0001f3ff",
    "\U0001f469\U0001f3fd\u200d\U0001f4bb",
    # flags: of a country, the rainbow, of England by tags
    "\U0001f1e8\U0001f1f3",
    "\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    # a keycap, a chosen variant of a Han character, ideographic tone marks
    "1\ufe0f\u20e3",
    "葛\U000e0100",
    # Devanagari: a consonant cluster with a vowel, and one that a joiner keeps apart
    "क्षि",
    "क्\u200dष",
    "நி",
    "ก\u0e49",
    # Hangul in parts, archaic ones that have no syllable, half-width Katakana with its voiced mark
    "\u1112\u1161\u11ab",
    "\u1112\u119e\u11ab",
    "한",
    "하\u11ab",
    "ｶﾞ",
    # Arabic's sign of a number
    "\u0600١",
]


@pytest.mark.parametrize("character", WHOLE, ids=ascii)
def test_title_is_not_cut_inside_a_grapheme(character: str) -> None:
    for before in range(51):
        title = title_of("x" * before + character + "y" * 60)
        kept = before + len(character) <= 50
        expected = "x" * before + (character + "y" * 60 if kept else "")
        assert title == expected[:50], before


@pytest.mark.parametrize("character", WHOLE, ids=ascii)
def test_title_of_repeated_graphemes_has_only_whole_ones(character: str) -> None:
    title = title_of(character * 60)
    assert title == character * (50 // len(character))


def test_consecutive_flags_are_separated() -> None:
    flags = "\U0001f1e8\U0001f1f3" * 40
    assert title_of("x" + flags) == "x" + flags[:48]
    assert title_of("xx" + flags) == "xx" + flags[:48]


def test_text_of_up_to_50_code_points_is_its_own_title() -> None:
    for text in ("你好", "长" * 50, "a\u200db", "שלום \u200fabc", "x\u0301" * 25):
        assert title_of(text) == text
    assert title_of("长" * 51) == "长" * 50


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("  a \n\n b\t\tc\u3000d\u2028e\x85f ", "a b c d e f"),
        ("a\x00b\x07c\x1b[31md\x7fe\x9ff", "abc[31mdef"),
        # an unclosed embedding would reverse the text after the title, also where the title is cut
        ("\u202egnp.exe", "gnp.exe"),
        ("a\u202ab\u202bc\u202dd\u2066e\u2067f\u2068g", "abcdefg"),
        ("\u202e" + "x" * 60 + "\u202c", "x" * 50),
        ("\u200b\ufeff\u2060 \u200bhello", "hello"),
        ("\u200b" * 60 + "hello", "hello"),
        ("\u0301\u0301e", "e"),
        ("a" * 49 + " b", "a" * 49),
    ],
    ids=ascii,
)
def test_blanks_are_joined_and_control_characters_removed(text: str, title: str) -> None:
    assert title_of(text) == title


@pytest.mark.parametrize(
    "text",
    ["", " \n", "\u200b", "\u200d\u200d", "\ufe0f", "\u202e\u202e", "\x00\x01", "\u2800", "\u3164", "\u00ad"]
    + ["\u0301", "\U000e0067\U000e007f", "\u2066\u2069", "\u200e \u200f", "\ufeff" * 70, "\u115f\u1160"],
    ids=ascii,
)
def test_invisible_text_gives_no_title(text: str) -> None:
    assert title_of(text) == ""


def test_character_with_very_many_marks_is_cut_to_its_letter() -> None:
    assert title_of("a" + "\u0301" * 100) == "a"
    assert title_of("xy" + "\u0301" * 100) == "x"


def test_emoji_unknown_to_python_are_visible() -> None:
    unassigned = "\U0001faef"
    assert unicodedata.category(unassigned) == "Cn" or unassigned.isprintable()
    assert title_of(unassigned) == unassigned
