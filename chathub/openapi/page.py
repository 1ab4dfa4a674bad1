"""The description as a page for browsers, which needs no script and loads nothing."""

import html
import re
from collections.abc import Iterator

from chathub.openapi.blocks import Block, Code, Heading, Text, blocks_of, operations_of
from chathub.schemas.json import JsonObject

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; }
nav { padding: 1rem; border-bottom: 1px solid var(--line); font-size: .875rem; }
nav ul { margin: .25rem 0; padding-left: 1rem; list-style: none; }
nav summary { cursor: pointer; padding: .125rem 0; }
main { padding: 0 1rem 4rem; }
h1 { margin: 0; font-size: 1.25rem; }
h2 { margin: 3rem 0 .5rem; padding-top: .5rem; border-top: 2px solid var(--line); }
h3 { margin: 2.5rem 0 .5rem; font: 600 1rem/1.4 ui-monospace, monospace; }
p { max-width: 46rem; overflow-wrap: anywhere; }
h2, h3, summary { overflow-wrap: anywhere; }
h2 a, h3 a { color: inherit; text-decoration: none; }
code { padding: .1em .25em; border-radius: 3px; background: var(--soft); }
code, pre { font: .875em ui-monospace, monospace; }
pre { padding: .75rem; background: var(--soft); overflow-x: auto; }
div { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .875rem; min-width: 30rem; }
th, td { padding: .375rem .75rem; border: 1px solid var(--line); text-align: left; vertical-align: top; }
th { background: var(--soft); }
td:first-child { white-space: nowrap; }
@media (min-width: 60rem) {
  body { display: grid; grid-template-columns: 20rem minmax(0, 1fr); }
  nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; }
  nav { border-right: 1px solid var(--line); border-bottom: 0; }
  main { padding: 0 2rem 4rem; max-width: 70rem; }
}
"""
_INLINE = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*|\[([^\]]+)\]\(([^)]+)\)")


def page_of(document: JsonObject) -> str:
    """The whole page."""
    body = "\n".join(_element(block) for block in blocks_of(document))
    version = html.escape(document["info"]["version"])
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>ChatHub API</title>
<style>{_STYLE}</style>
</head>
<body>
<nav>
<h1>ChatHub API</h1>
<p>Version {version} · <a href="openapi.json">openapi.json</a></p>
{"".join(_index(document))}
</nav>
<main>
{body}
</main>
</body>
</html>
"""


def _index(document: JsonObject) -> Iterator[str]:
    for number, tag in enumerate(document["tags"], 1):
        links = [
            _link(Heading(3, f"{method} {path}"), operation["summary"])
            for path, method, operation in operations_of(document, tag["name"])
        ]
        name = html.escape(tag["name"])
        yield f"<details><summary>{number} {name}</summary>\n<ul>\n{''.join(links)}</ul>\n</details>\n"
    links = [_link(Heading(3, name), name) for name in document["components"]["schemas"]]
    yield f"<details><summary>Types</summary>\n<ul>\n{''.join(links)}</ul>\n</details>\n"
    yield '<p><a href="#shared-errors">Shared errors</a></p>\n'


def _link(heading: Heading, text: str) -> str:
    return f'<li><a href="#{html.escape(heading.anchor)}">{html.escape(text)}</a></li>\n'


def _element(block: Block) -> str:
    if isinstance(block, Heading):
        tag, anchor, text = f"h{block.level}", html.escape(block.anchor), html.escape(block.text)
        return f'<{tag} id="{anchor}"><a href="#{anchor}">{text}</a></{tag}>'
    if isinstance(block, Text):
        return f"<p>{_inline(block.text)}</p>"
    if isinstance(block, Code):
        return f"<pre>{html.escape(block.text)}</pre>"
    rows = [_row("th", block.head), *(_row("td", row) for row in block.rows)]
    # wide tables scroll by themselves
    return "<div><table>\n" + "\n".join(rows) + "\n</table></div>"


def _row(tag: str, cells: tuple[str, ...]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells) + "</tr>"


def _inline(text: str) -> str:
    parts, end = [], 0
    for found in _INLINE.finditer(text):
        parts += [html.escape(text[end : found.start()]), _marked(found)]
        end = found.end()
    return "".join([*parts, html.escape(text[end:])])


def _marked(found: re.Match[str]) -> str:
    code, bold, text, target = found.groups()
    if code is not None:
        return f"<code>{html.escape(code)}</code>"
    if bold is not None:
        return f"<strong>{_inline(bold)}</strong>"
    if not target.startswith("#"):
        # another document, which the server does not send
        return html.escape(text)
    return f'<a href="{html.escape(target)}">{html.escape(text)}</a>'
