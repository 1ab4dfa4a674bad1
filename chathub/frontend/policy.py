"""The Content-Security-Policy of pages: what a browser may load and run for them."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable

_SCRIPT = re.compile(r"<script\b[^>]*>(.*?)</script", re.DOTALL | re.IGNORECASE)
_STYLE = re.compile(r"<style\b[^>]*>(.*?)</style", re.DOTALL | re.IGNORECASE)
_ADDRESS = re.compile(r"""<(?:script|link)\b[^>]*?\b(?:src|href)=["']?([^"'\s>]+\.m?js)\b""", re.IGNORECASE)
# an event handler in HTML that a script writes, such as onclick="copy(this)". One with a variable in it
# does not match: its text is known only when the script runs
_HANDLER = re.compile(r"""on(?<!\won)[a-z]{3,20}=\\?"([^"`$\\]{1,200})\\?\"""")
LONGEST_HANDLER = 230


def page_policy(html: str = "", handlers: Iterable[str] = ()) -> str:
    """The policy of a front end and its files. ``html`` is its page, ``handlers`` are event handlers.

    The scripts that run are files of the folder or inline in the page, and of event handlers those that the
    page and its scripts write themselves. What a model's reply brings into the page does not run, nor can the
    page send anything to another server, not even in the address of an image.
    """
    sources = ["'self'", *_hashes(_SCRIPT.findall(html))]
    if known := _hashes(sorted(handlers)):
        sources += ["'unsafe-hashes'", *known]
    return (
        f"default-src 'self'; script-src {' '.join(sources)}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
        "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def handlers_in(text: str) -> set[str]:
    """The event handlers in a piece of HTML or script, of at most ``LONGEST_HANDLER`` characters with their
    names."""
    return set(_HANDLER.findall(text))


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
