"""The table of formats as it stands in the documents, in English and in Chinese."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import documented

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
# clients, in the order of the tables
CLIENTS = ("openai", "responses", "anthropic", "api")
# columns: the word for a provider that has Responses too is no format
COLUMNS = {
    **{f"`{each}`": each for each in ("openai", "anthropic", "gemini")},
    **dict.fromkeys(("`openai` with Responses", "有 Responses 的 `openai`"), "responses"),
}
# a row's name → its Chinese name
ROWS = {
    "system": "系统提示词",
    "images": "图片",
    "PDF": "PDF",
    "audio": "音频",
    "cache markers": "缓存标记",
    "tools": "工具",
    "strict tools": "strict 工具",
    "parallel": "并行调用",
    "tool choice": "工具选择",
    "structured output": "结构化输出",
    "JSON without a schema": "不带 schema 的 JSON",
    "reasoning effort": "思考强度",
    "reasoning round trip": "思考往返",
    "citations": "引用来源",
    "n": "n",
    "logprobs": "logprobs",
    "stop": "停止序列",
    "seed": "seed",
    "penalties": "惩罚参数",
    "usage details": "用量明细",
    "attachments": "附件",
}
# the words of a cell → the Chinese ones
WORDS = {
    "carried": "照传",
    "lost": "丢失",
    "—": "—",
    "set by ChatHub": "由 ChatHub 设置",
    "as the schema alone": "改为只传 schema",
    "as an instruction": "改为系统提示中的一句要求",
    "as a text that names it": "改为说明它的文字",
    "as a sentence that says what came": "改为说明内容的一句话",
}


class Language(NamedTuple):
    name: str
    path: Path
    is_chinese: bool

    def row(self, name: str) -> str:
        return ROWS[name] if self.is_chinese else name

    def cell(self, outcome: str) -> str:
        """An outcome in the words of this language."""
        if not self.is_chinese:
            return outcome
        return "拒绝" + outcome.removeprefix("refused") if outcome.startswith("refused") else WORDS[outcome]


LANGUAGES = (
    Language("en", DOCS / "formats.md", False),
    Language("zh", DOCS / "formats.zh-CN.md", True),
)


@cache
def cells_of(language: Language) -> dict[tuple[str, str, str], str]:
    """Each cell's words by row, client and provider format; there is a table for each client."""
    names = {language.row(name): name for name in ROWS}
    found = {}
    tables = [
        table
        for table in documented.tables(language.path.read_text("utf-8"))
        if table.head[1:4] == ("`openai`", "`anthropic`", "`gemini`")
    ]
    for client, table in zip(CLIENTS, tables, strict=True):
        for first, *cells in table.rows:
            for head, cell in zip(table.head[1:], cells, strict=True):
                place = names[first], client, COLUMNS[head]
                assert place not in found, place
                found[place] = re.sub(r"\s+", " ", cell)
    return found
