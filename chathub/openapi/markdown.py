"""The description as Markdown, for ``docs/api.md``."""

from collections.abc import Iterator

from chathub.openapi.blocks import Block, Code, Heading, Text, blocks_of
from chathub.schemas.json import JsonObject

_BEGINNING = """\
# ChatHub API

[中文](api.zh-CN.md) · [openapi.json](openapi.json)

Generated from the routes and types of the server by `make docs`; the server shows the same at `/docs`.
"""


def markdown_of(document: JsonObject) -> str:
    """The whole page."""
    blocks = list(blocks_of(document))
    index = [
        f"[{block.text}](#{block.anchor})"
        for block in blocks
        if isinstance(block, Heading) and block.level == 2
    ]
    lines = [_BEGINNING, " ·\n".join(index) + "\n"]
    for block in blocks:
        lines += _lines(block)
    return "\n".join(lines).rstrip() + "\n"


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Heading):
        yield f"{'#' * block.level} {block.text}\n"
    elif isinstance(block, Text):
        yield f"{block.text}\n"
    elif isinstance(block, Code):
        yield f"```json\n{block.text}\n```\n"
    else:
        yield _row(block.head)
        yield _row(("---",) * len(block.head))
        yield from map(_row, block.rows)
        yield ""


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
