"""The documents show the table of failures as it is, in both languages."""

from pathlib import Path

import pytest
from documented import codes, tables

from chathub.formats.failures.table import TABLE

DOCS = Path(__file__).resolve().parent.parent / "docs"
ABOUT = {"key": ("密钥", "key"), "model": ("模型", "model"), "nothing": ("无", "nothing")}
NEXT = {
    "endpoint": ("下一个密钥", "next key"),
    "candidate": ("下一个模型", "next model"),
    "stop": ("不再尝试", "stop"),
}


@pytest.mark.parametrize(("name", "language"), [("api.zh-CN.md", 0), ("using.zh-CN.md", 0), ("using.md", 1)])
def test_documented_table_of_failures_is_the_codes(name: str, language: int) -> None:
    found = tables((DOCS / name).read_text("utf-8"))
    (table,) = [it for it in found if len(it.head) == 7 and it.head[0].strip("`") == "code"]
    rows = {codes(row[0])[0]: row for row in table.rows}
    assert rows.keys() == TABLE.keys() and len(rows) == len(table.rows)
    for code, row in TABLE.items():
        _, _, about, rest, following, status, chat_status = rows[code]
        assert about == ABOUT[row.about][language], code
        assert following.startswith(NEXT[row.next_step][language]), code
        assert (rest in ("不变", "unchanged")) == (row.rest is None and row.failure_class != "invalid_key")
        assert not row.status or status == str(row.status), code
        assert not row.chat_status or chat_status == str(row.chat_status), code
