"""Files given to ``chathub reconcile``: any encoding is read, what is wrong is refused with its place, and
names of models and API keys are matched."""

import io
import json
import random
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from exports import KEYS, SHAPES, Request
from reconciling import Command

from chathub.config import Config
from chathub.database.rows.api_keys import KeyName
from chathub.errors import StartError
from chathub.reconcile.bill import read_bill
from chathub.reconcile.names import group_models, match_keys, shown_name


@pytest.fixture
def command(config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(config, tmp_path, capsys)


ACTIVITY = "Date,Slug,Usage,Requests,Prompt Tokens,Completion Tokens\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "export0 is empty"),
        (" \n\n", "export0 has no rows"),
        ("hello", "none of the exports that are known"),
        ("[]", "export0 has no rows"),
        (ACTIVITY, "there is no charge in the file"),
        ('{"data": [{"date": ', "export0, line 1: this is no JSON"),
        ('{"data": [{"date": NaN}]}', "numbers that JSON does not know"),
        ('{"data": [1]}', r"export0, data\[0\] is no object"),
        (ACTIVITY + "2026-08-01,a/b,many,1,1,1\n", "export0, line 2: usage is no number"),
        (ACTIVITY + "2026-08-01,a/b,1,1,1,1\n2026-08-01,a/b,1,1,-3,1\n", "line 3: prompt tokens is no count"),
        (ACTIVITY + "2026-08-01,a/b,1,1,1.5,1\n", "line 2: prompt tokens is no count"),
        (ACTIVITY + "2026-08-01,a/b,1e30,1,1,1\n", "line 2: usage is too large"),
        (ACTIVITY + "yesterday,a/b,1,1,1,1\n", "line 2: date is no time"),
        (ACTIVITY + "0001-01-01,a/b,1,1,1,1\n", "line 2: date is no time of this century"),
        (ACTIVITY + "2026-08-01,a/b,1,1,1,1,9\n", "line 2 has more cells"),
        (ACTIVITY + "2026-08-01,a/b,1,1,1,1\n2026-08-01,a/b,1", "line 3 has fewer cells"),
        (ACTIVITY + '2026-08-01,"' + "x" * 200_000 + '",1,1,1,1\n', "export0 is no CSV file"),
        (b"PK\x03\x04 and then nothing", "none of the exports|no rows"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_file_that_is_no_export_is_refused_with_its_place(
    content: str | bytes, sentence: str, command: Command
) -> None:
    with pytest.raises(StartError, match=sentence):
        command(content)


def test_file_that_is_given_twice_is_refused(command: Command) -> None:
    content = (ACTIVITY + "2026-08-01,a/b,1,1,1,1\n").encode()
    with pytest.raises(StartError, match="export0 and export1 are the same file"):
        command(content, also=content)


@pytest.mark.parametrize("name", ["results", "result"])
def test_rows_of_an_answer_are_found_by_both_names_of_their_list(name: str, command: Command) -> None:
    row = {"input_tokens": 5, "output_tokens": 1, "num_model_requests": 1, "model": "gpt-7o"}
    bucket = {"object": "bucket", "start_time": 1753920000, "end_time": 1754006400, name: [row]}
    report = command(json.dumps({"data": [bucket]}), "--provider", "openai", "--json").json
    assert report["total"]["provider"]["prompt_tokens"] == 5


@pytest.mark.parametrize(
    "flags",
    ["--since 0001-01-01", "--until 9999-12-31", "--since soon", "--rate nan", "--rate 0", "--rate 1e9"]
    + ["--tolerance nan", "--tolerance -1", "--timezone ../zone"],
)
def test_flag_that_means_nothing_is_refused(
    flags: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command(ACTIVITY, *flags.split())
    assert f"argument {flags.split()[0]}: " in capsys.readouterr().err


def test_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="usage.csv cannot be read: No such file"):
        read_bill([tmp_path / "usage.csv"], None)


def test_wrong_cell_is_not_repeated_in_the_error(command: Command) -> None:
    """A shifted column may hold an API key."""
    with pytest.raises(StartError) as raised:
        command(ACTIVITY + "2026-08-01,a/b,sk-secret-1234567890abcdef,1,1,1\n")
    assert "secret" not in str(raised.value)


def test_archive_that_would_unpack_to_too_much_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chathub.reconcile.files._MOST_BYTES", 5000)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("amount.csv", b"0" * 6000)
    assert len(archive.getvalue()) < 5000
    with pytest.raises(StartError, match="export0/amount.csv is larger than"):
        command(archive.getvalue())


def test_more_rows_than_the_bound_are_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chathub.reconcile.files._MOST_ROWS", 3)
    with pytest.raises(StartError, match="export0 has more than 3 rows"):
        command(ACTIVITY + "2026-08-01,a/b,1,1,1,1\n" * 4)


@pytest.mark.parametrize("shape", SHAPES)
def test_damaged_file_is_read_or_refused_with_a_sentence(shape: str, tmp_path: Path) -> None:
    chance, file = random.Random(shape), tmp_path / "export"
    at = datetime(2026, 8, 1, 23, tzinfo=UTC)
    whole = SHAPES[shape]([Request(at, key, "gpt-7o", 2000, 400, 800, 30) for key in KEYS])
    for _ in range(50):
        begin = chance.randrange(len(whole))
        end = begin + chance.choice((0, 1, 20, len(whole)))
        with_what = chance.choice((b"", b",", b'"', b"{", b"\n", b"-1", b"NaN", b"\x00", b"\xff", b"9" * 400))
        file.write_bytes(whole[:begin] + with_what + whole[end:])
        with suppress(StartError):
            assert read_bill([file], None).sums


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("utf-8-sig", ","), ("utf-16", "\t"), ("utf-16-le", ","), ("gb18030", ","), ("utf-8", ";")],
)
def test_encodings_separators_and_signs_of_money_are_read(
    encoding: str, delimiter: str, command: Command
) -> None:
    """A spreadsheet saves as it likes: ``¥1,234.50`` is written with the marks of the country."""
    money = "¥1.234,50" if delimiter == ";" else '"¥1,234.50"'
    rows = [
        ["费用发生时间", "计费项", "计费金额"],
        ["2026/8/1 23:59", "模型/甲.online.output-tokens", money],
    ]
    text = "\n".join(delimiter.join(row) for row in rows)
    report = command(text.encode(encoding), "--provider", "siliconflow", "--json").json
    (row,) = report["rows"]
    assert (row["day"], row["model"], row["provider"]["cost"]) == ("2026-08-01", "模型/甲", 1234.5)
    assert (report["currency"], report["timezone"]) == ("CNY", "UTC+08:00")


# --- names


@pytest.mark.parametrize(
    ("charged", "booked"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o", "openai/gpt-4o"),
        ("openai/gpt-4.1-2025-04-14", "openai/gpt-4.1"),
        ("Claude Haiku 4.5", "claude-haiku-4-5"),
        ("Claude Haiku 3.5", "claude-3-5-haiku-20241022"),
        ("claude-3-5-haiku-20241022", "claude-3-5-haiku-latest"),
        ("qwen/qwen3-8b", "Qwen/Qwen3-8B"),
        ("GPT-4 Turbo", "gpt-4-turbo-2024-04-09"),
    ],
)
def test_names_of_one_model_are_matched(charged: str, booked: str) -> None:
    groups = group_models([charged, "other"], [booked, "another"], {})
    assert groups.of_export[charged] == groups.of_ledger[booked]
    assert len({*groups.of_export.values(), *groups.of_ledger.values()}) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [("gpt-5.4", "gpt-4.5"), ("gpt-4o", "gpt-4o-mini"), ("o3", "o3-pro"), ("deepseek-v3", "deepseek-v3.1")],
)
def test_names_of_two_models_are_not_matched(one: str, other: str) -> None:
    groups = group_models([one], [other], {})
    assert groups.of_export[one] != groups.of_ledger[other]


def test_model_without_a_date_joins_the_dated_one_that_the_provider_charges() -> None:
    """The ledger has both, the provider knows one; of two dated ones each goes with its own."""
    groups = group_models(["m-2024-08-06"], ["m", "m-2024-08-06"], {})
    assert len({*groups.of_export.values(), *groups.of_ledger.values()}) == 1
    groups = group_models(["m-2024-08-06", "m-2024-05-13"], ["m", "m-2024-05-13"], {})
    assert groups.of_export["m-2024-05-13"] == groups.of_ledger["m-2024-05-13"]
    assert groups.of_export["m-2024-08-06"] == groups.of_ledger["m"] != groups.of_ledger["m-2024-05-13"]


def test_model_that_the_provider_calls_otherwise_is_matched_by_that_name() -> None:
    groups = group_models(["gpt-4o-2024-08-06"], ["our-best"], {"our-best": "gpt-4o"})
    assert groups.of_export["gpt-4o-2024-08-06"] == groups.of_ledger["our-best"]


@pytest.mark.parametrize(
    ("name", "matches"),
    [
        ("Production", True),
        ("sk-918f***********************3f8", True),
        ("sk-...d3f8", True),
        ("sk-…d3f8", True),
        ("sk-***d3f8", True),
        ("sk-***9999", False),
        ("ak-***d3f8", False),
        ("sk-***f8", False),
        ("********", False),
        ("", False),
    ],
)
def test_api_key_is_matched_by_its_label_or_its_ends(name: str, matches: bool) -> None:
    keys = [KeyName(7, "production", "sk-9…d3f8"), KeyName(8, "", "********")]
    assert match_keys([(name,)], keys) == ({7: (name,)} if matches else {})


def test_name_of_an_api_key_is_never_a_key() -> None:
    assert shown_name(("sk-918f*******d3f8",)) == "…d3f8"
    assert "abcdef" not in shown_name(("sk-1234567890abcdefabcdef",))
    assert shown_name(("key_OYRZfEkH5R9CNgtY", "x")) == "key_OYRZfEkH5R9CNgtY"
