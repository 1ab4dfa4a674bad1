"""Sentences: each has a code, two languages, a place where it is used, and none stands elsewhere."""

import ast
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from chathub.errors import BadRequest, ChatHubError
from chathub.sentences import Language, Param, Reason, sentence
from chathub.sentences.tables import ERRORS, SENTENCES
from tests.test_structure import CHATHUB, modules

FOLDER = CHATHUB / "sentences"
CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff01-\uff60]")
# Chinese that is no sentence: words to find in what others write, and texts that must stay as they are
ELSEWHERE = {
    "chat/settle.py",  # the text that the page itself shows after its stop button
    "formats/failures/words.py",  # words of Chinese providers
    "formats/quirks/passages.py",  # quotation marks
    "formats/quirks/refusal_phrases.py",
    "formats/responses/lacking.py",  # words of Chinese providers
    "formats/reasoning/think_tags.py",  # quotation marks
    "formats/text_counts.py",  # ranges of characters
    "billing/usage_table.py",  # beginnings of formulas
    "openapi/markdown.py",  # the link to the document in Chinese
    "redaction.py",  # words before a secret
    "reconcile/exports/siliconflow.py",  # the names of the columns of its export
    "replies/titles.py",  # the request for a title, and quotation marks around one
}


def tables() -> list[Path]:
    return sorted(path for path in FOLDER.glob("*.py") if "SENTENCES = {" in path.read_text("utf-8"))


def codes_in(path: Path) -> Iterator[str]:
    """The codes of a table, as they stand in the file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Dict):
            yield from [ast.literal_eval(key) for key in node.keys if key is not None]


def literals(path: Path) -> Iterator[str]:
    """The strings of a module, without its docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


def raised() -> Iterator[tuple[Path, str]]:
    """The codes that the code gives an error, a reason or a sentence directly."""
    errors = {cls.__name__ for cls in _all_of(ChatHubError)} | {"TooManyBodies", "BodiesFull"}
    makers = {*errors, "Reason", "WeightsError", "sentence", "found", "refuse", "done", "said"}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            place = 1 if name in ("refuse", "done", "said") else 0
            given = node.args[place : place + 1] if name in makers else []
            for each in given:
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield path, each.value


def _all_of(kind: type[ChatHubError]) -> Iterator[type[ChatHubError]]:
    yield kind
    for inner in kind.__subclasses__():
        yield from _all_of(inner)


def placeholders(template: str) -> set[tuple[str, str]]:
    return {(name, form or "") for _, name, form, _ in string.Formatter().parse(template) if name is not None}


def test_tables_have_each_code_once_and_in_order() -> None:
    counted = Counter(code for path in tables() for code in codes_in(path))
    assert [code for code, count in counted.items() if count > 1] == []
    assert counted.keys() == SENTENCES.keys()
    for path in tables():
        codes = list(codes_in(path))
        assert codes == sorted(codes), path.name


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_code_has_two_languages_with_the_same_placeholders(code: str) -> None:
    chinese, english = SENTENCES[code]
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code)
    assert placeholders(chinese) == placeholders(english)
    assert chinese and english and not CHINESE.search(english)


def test_no_sentence_stands_twice() -> None:
    shown = Counter(
        chinese for code, (chinese, _) in SENTENCES.items() if chinese.strip("{}").isascii() is False
    )
    assert [chinese for chinese, count in shown.items() if count > 1] == []


def test_codes_in_the_code_exist() -> None:
    used = list(raised())
    assert len(used) > 200
    assert {(str(path), code) for path, code in used if code not in SENTENCES} == set()


def test_every_code_is_used() -> None:
    written = {text for path in modules() if path not in tables() for text in literals(path)}
    assert sorted(SENTENCES.keys() - written) == []


def test_errors_are_raised_with_codes_of_errors() -> None:
    """Their codes are in the documentation, in which parts of sentences have no place."""
    names = {cls.__name__ for cls in _all_of(ChatHubError)}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names and node.args:
                given = node.args[0]
                if isinstance(given, ast.Constant):
                    assert given.value in ERRORS, f"{path}: {given.value}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(CHATHUB)))
def test_chinese_stands_in_the_tables_only(path: Path) -> None:
    name = str(path.relative_to(CHATHUB))
    found = [text for text in literals(path) if CHINESE.search(text)]
    if FOLDER in path.parents:
        return
    assert bool(found) == (name in ELSEWHERE), found


@pytest.mark.parametrize("code", sorted(SENTENCES))
def test_chinese_sentences_follow_the_rules_of_writing(code: str) -> None:
    chinese = SENTENCES[code][0]
    if code != "health_ok":
        # a placeholder may be Latin: it has blanks as well, but for those that are Chinese words
        plain = re.sub(r"\{\w+(:\w+)?\}", "", chinese)
        assert not re.search(r"[\u4e00-\u9fff][A-Za-z0-9]|[A-Za-z0-9][\u4e00-\u9fff]", plain), chinese
    assert not re.search("上游|再试|null", chinese)
    assert not re.search(r"[\u4e00-\u9fff]\s?[(),;:?!]|[(),;:?!]\s?[\u4e00-\u9fff]", chinese)


@pytest.mark.parametrize(
    ("language", "params", "text"),
    [
        ("zh", {"wait": 29.2}, "尝试次数过多，请在 30 秒后重试"),
        ("zh", {"wait": 900}, "尝试次数过多，请在 15 分钟后重试"),
        ("en", {"wait": 1}, "Too many attempts, please try again in 1 second"),
        ("en", {"wait": 7200}, "Too many attempts, please try again in 2 hours"),
    ],
)
def test_durations_are_in_units_that_people_read(
    language: Language, params: dict[str, Param], text: str
) -> None:
    assert sentence("too_many_attempts", language, params) == text


def test_numbers_have_commas_and_no_empty_decimals() -> None:
    params: dict[str, Param] = {"where": Reason("field", {"name": "cost_limit"}), "least": 0.0, "most": 1e9}
    assert sentence("field_out_of_range", "zh", params) == "字段 cost_limit 应在 0 到 1,000,000,000 之间"
    assert (
        sentence("field_out_of_range", "en", params) == "Field cost_limit must be between 0 and 1,000,000,000"
    )


def test_no_blank_follows_a_wide_mark() -> None:
    place = Reason("at_host", {"host": "example.com"})
    timed_out = Reason("upstream_connect_timeout", {"provider": "OpenAI"})
    assert timed_out.text("zh") == "连接 OpenAI 超时"
    assert timed_out.with_params(at=place).text("zh") == "连接 OpenAI（example.com）超时"
    assert timed_out.with_params(at=place).text("en").startswith("The connection to OpenAI (example.com) ")


def test_stored_reason_makes_its_sentence_in_both_languages() -> None:
    reason = Reason(
        "provider_error",
        {
            "provider": "OpenAI",
            "error": Reason("http_error", {"status": 401}),
            "reason": Reason("provider_text", {"text": "a {b} c"}),
        },
        "upstream_invalid_key",
    )
    again = msgspec.json.decode(msgspec.json.encode(reason), type=Reason)
    assert again == reason
    assert again.text("zh") == "OpenAI 返回错误（HTTP 401）：a {b} c"
    assert again.text("en") == "OpenAI returned an error (HTTP 401): a {b} c"


def test_error_keeps_code_and_parameters_apart_from_details() -> None:
    error = BadRequest("model_disabled", model="m", details={"message_id": 1})
    assert (error.reason, error.details) == (Reason("model_disabled", {"model": "m"}), {"message_id": 1})


# --- the documentation


def documented(name: str) -> dict[str, tuple[str, str]]:
    """Status and sentence of each code in a document."""
    text = (CHATHUB.parent / "docs" / name).read_text("utf-8")
    return {row[0]: (row[1], row[2]) for row in re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", text, re.M)}


@pytest.mark.parametrize(("name", "language"), [("errors.zh-CN.md", 0), ("errors.md", 1)])
def test_documentation_lists_every_code_with_its_sentence(name: str, language: int) -> None:
    told = {code: re.sub(r"\{\w+:if_any\}", "", texts[language]) for code, texts in ERRORS.items()}
    shown = {code: re.sub(r"\{\w+(:\w+)?\}", "…", text) for code, text in told.items()}
    assert {code: row[1] for code, row in documented(name).items()} == shown


@pytest.mark.parametrize("name", ["errors.zh-CN.md", "errors.md"])
def test_documentation_gives_the_status_with_which_a_code_is_raised(name: str) -> None:
    rows, statuses = documented(name), {cls.__name__: cls.status for cls in _all_of(ChatHubError)}
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = getattr(getattr(node, "func", None), "id", "")
            given = node.args[0] if isinstance(node, ast.Call) and name in statuses and node.args else None
            if isinstance(given, ast.Constant):
                assert str(statuses[name]) in rows[given.value][0].split(", "), given.value
