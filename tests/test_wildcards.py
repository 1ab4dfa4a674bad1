"""Wildcards: which names they match, and which of several counts."""

import re

from hypothesis import given
from hypothesis import strategies as st

from chathub.database.rows.models import Model
from chathub.providers.aliases import matches, wildcards_in

TEXTS = st.text("abA-./", max_size=8)


@given(st.lists(TEXTS, min_size=2, max_size=4), TEXTS, st.lists(TEXTS, min_size=3, max_size=3))
def test_a_star_stands_for_any_text_without_regard_to_case(
    parts: list[str], name: str, fill: list[str]
) -> None:
    pattern = "*".join(parts)
    for each in (name, "".join(part + text for part, text in zip(parts, [*fill, ""], strict=False))):
        expected = re.fullmatch(".*".join(map(re.escape, parts)), each, re.IGNORECASE | re.DOTALL)
        assert matches(pattern, each) is bool(expected), (pattern, each)


def test_a_long_name_matches_nothing() -> None:
    assert matches("*", "a" * 200) and not matches("*", "a" * 201)


def test_the_longest_beginning_comes_first_then_the_longest_pattern() -> None:
    names = ["*", "gpt-4", "gpt-*", "*-mini", "gpt-4*", "gpt-*-mini"]
    rows = [Model(n, name, name, None, "alias", "", True, True, 0, 0) for n, name in enumerate(names)]
    assert [row.model_name for row in wildcards_in(rows)] == ["gpt-4*", "gpt-*-mini", "gpt-*", "*-mini", "*"]
