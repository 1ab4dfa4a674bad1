"""A small built front end, as a build tool writes one: hashed files, compressed copies, a page."""

import gzip
from pathlib import Path

SCRIPT = "assets/index-CkXG6ZsP.js"
CHUNK = "assets/History.4f2a1b3c.chunk.js"
STYLE = "assets/index-B-x_Z1aQ.css"
LARGE = "assets/vendor-9dE31xQz.js"
# stands for Brotli: nobody decompresses it here
BROTLI = b"content in the coding br"

_PAGE = """<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="icon" href="/favicon.svg">
<link rel="stylesheet" crossorigin href="/assets/index-B-x_Z1aQ.css">
<script>window.inline = "ran"</script>
<script type="module" crossorigin src="/{script}"></script>
</head>
<body><div id="app"></div></body>
</html>
"""
_SCRIPT = """
const app = document.getElementById("app")
window.copyText = (button) => { button.dataset.copied = "yes" }
app.innerHTML = `<h1 style="color: rgb(1, 2, 3)">${location.pathname}</h1><p id="answer"></p>
  <button id="copy" onclick="copyText(this)">copy</button><div id="reply"></div>`
const show = async () => {
  // a reply that is rendered without care
  document.getElementById("reply").innerHTML = await (await fetch("/reply.txt")).text()
  await fetch("http://localhost:9/").catch(() => { window.refused = true })
  document.getElementById("answer").textContent = (await (await fetch("/api/health")).json()).status
}
show()
"""
_CHUNK = b"export default 1\n"
_REPLY = """<img id="ours" src="/favicon.svg" onload="window.stolen = 'by a handler'">
<img id="theirs" src="http://localhost:9/?secret" onerror="window.stolen = 'by an error'">
<svg onload="window.stolen = 'by a drawing'"></svg>
<iframe srcdoc="<script>parent.stolen = 'by a frame'</script>"></iframe>
<a id="link" href="javascript:window.stolen = 'by a link'">link</a>
"""


def write_build(folder: Path, title: str = "first", script: str = SCRIPT) -> Path:
    """Write a build into a folder; gives the folder."""
    files = {
        "index.html": _PAGE.format(title=title, script=script).encode(),
        "index.html.gz": gzip.compress(b"the page of an earlier build"),
        "favicon.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
        "reply.txt": _REPLY.encode(),
        "site.webmanifest": b"{}",
        script: _SCRIPT.encode(),
        f"{script}.gz": gzip.compress(_SCRIPT.encode()),
        CHUNK: _CHUNK,
        f"{CHUNK}.gz": gzip.compress(_CHUNK),
        f"{CHUNK}.br": BROTLI,
        STYLE: b"h1 { margin: 0 }\n",
        LARGE: b"// 300 KB\n" * 30_000,
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
