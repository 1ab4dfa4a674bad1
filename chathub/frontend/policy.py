"""The Content-Security-Policy of pages: what a browser may load and run for them."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable

_SCRIPT = re.compile(r"<script\b[^>]*>(.*?)</script", re.DOTALL | re.IGNORECASE)
_STYLE = re.compile(r"<style\b[^>]*>(.*?)</style", re.DOTALL | re.IGNORECASE)
_ADDRESS = re.compile(r"""<(?:script|link)\b[^>]*?\b(?:src|href)=["']?([^"'\s>]+\.m?js)\b""", re.IGNORECASE)
# an event handler in HTML that a script writes, such as onclick="copy(this)": no part of it is put in later
_HANDLER = re.compile(r"""\bon[a-z]{3,20}=\\?"([^"`$\\]{1,200})\\?\"""")


def page_policy(html: str = "", scripts: Iterable[str] = ()) -> str:
    """The policy of a front end and its files. ``html`` is its page, ``scripts`` the texts of its scripts.

    The scripts that run are files of the folder or inline in the page, and of event handlers those that the
    page and its scripts write themselves. What a model's reply brings into the page does not run, nor can the
    page send anything to another server, not even in the address of an image.
    """
    sources = ["'self'", *_hashes(_SCRIPT.findall(html))]
    handlers = {handler for text in (html, *scripts) for handler in _HANDLER.findall(text)}
    if handlers:
        sources += ["'unsafe-hashes'", *_hashes(sorted(handlers))]
    return (
        f"default-src 'self'; script-src {' '.join(sources)}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def script_addresses(html: str) -> list[str]:
    """The addresses of the scripts that a page loads, now or later."""
    return list(dict.fromkeys(_ADDRESS.findall(html)))


def still_policy(html: str) -> str:
    """The policy of a page that runs no script and loads nothing: only its own styles apply."""
    styles = " ".join(_hashes(_STYLE.findall(html)))
    return (
        f"default-src 'none'; style-src {styles}; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _hashes(texts: Iterable[str]) -> list[str]:
    """The sources of inline scripts, styles and event handlers (CSP 3, 2.3.1): hashes of their texts, with
    the line ends that a browser reads."""
    lines = (text.replace("\r\n", "\n").replace("\r", "\n").encode() for text in texts if text)
    return [f"'sha256-{b64encode(hashlib.sha256(text).digest()).decode()}'" for text in lines]
