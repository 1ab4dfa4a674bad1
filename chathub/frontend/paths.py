"""Paths of requests for files: what they name, what they may not name, and what their names tell."""

import re
from urllib.parse import unquote

# first segments that are the server's own: a front end serves nothing there, whatever the method
RESERVED = frozenset({"api", "v1", "docs", "metrics", "openapi.json"})

# bytes of a path, which the system would refuse as well, and of one name in it
_LONGEST_PATH = 1024
_LONGEST_NAME = 255
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f/\\]")
# the end of a name that may be a hash of the content: hexadecimal, or 8 characters as of Rollup
_HASH = re.compile(r"(?:^|[-_])(?:(?P<hex>[0-9a-f]{8,64})|(?P<letters>[A-Za-z0-9_-]{8}))$")
# the media types of a build's files by their endings; the system's own table differs between machines
_TEXTS = {
    "css": "text/css",
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "js": "text/javascript",
    "json": "application/json",
    "map": "application/json",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "webmanifest": "application/manifest+json",
    "xml": "text/xml",
}
_OTHERS = {
    "avif": "image/avif",
    "br": "application/octet-stream",
    "gif": "image/gif",
    "gz": "application/gzip",
    "ico": "image/x-icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "ttf": "font/ttf",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
}
_TYPES = {ending: f"{media}; charset=utf-8" for ending, media in _TEXTS.items()} | _OTHERS


def is_reserved(path: str) -> bool:
    """Whether a path is the server's own. Also where it is written with capitals or percent signs: a mistake
    in an address of the API must not lead to a page."""
    return unquote(path).lstrip("/").partition("/")[0].lower() in RESERVED


def names_in(path: str) -> list[str] | None:
    """The names in a path that is still percent-encoded: none for ``/`` itself. A slash at the end is left
    out.

    None for what no front end's file is called: names that begin with a dot (hidden files, and the way out of
    the folder), empty ones, those with a slash, backslash or control character inside, and very long ones.
    """
    if not path.startswith("/") or len(path) > _LONGEST_PATH:
        return None
    path = path.removeprefix("/").removesuffix("/")
    try:
        names = [unquote(part, errors="strict") for part in path.split("/")] if path else []
        return names if all(_is_plain(name) for name in names) else None
    except UnicodeError:
        # not UTF-8, percent-encoded or not
        return None


def _is_plain(name: str) -> bool:
    return (
        name != ""
        and not name.startswith(".")
        and not _FORBIDDEN.search(name)
        and len(name.encode()) <= _LONGEST_NAME
    )


def media_type(name: str) -> str:
    """The Content-Type of a file."""
    return _TYPES.get(_ending(name), "application/octet-stream")


def is_asset(name: str) -> bool:
    """Whether a path's last name is that of a file, such as ``app.js``; ``gpt-4.1`` is none."""
    return _ending(name) in _TYPES


def _ending(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def is_hashed(name: str) -> bool:
    """Whether a build put a hash of the content into the name, so that the file never changes:
    ``index-CkXG6ZsP.js``, ``main.4f2a1b3c.chunk.js``. In doubt it did not: words and dates are as long."""
    return any(_ends_in_hash(piece) for piece in name.split(".")[:-1])


def _ends_in_hash(piece: str) -> bool:
    match = _HASH.search(piece)
    if match is None:
        return False
    digits = sum(letter.isdigit() for letter in match[0])
    if match["hex"]:
        return 0 < digits < len(match["hex"])
    capitals, small = re.findall("[A-Z]", match["letters"]), re.findall("[a-z]", match["letters"])
    # a word in capitals, or two joined words, have no digit and at most two capitals among small letters
    return bool(capitals) and (digits > 0 or (bool(small) and len(capitals) > 2))
