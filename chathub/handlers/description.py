"""Section 13 of the API document: the description of the API, for programs and as a page."""

import base64
import hashlib
import re

from aiohttp import web

from chathub.app_keys import DOCUMENTS
from chathub.documents import Document

_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)


async def show(request: web.Request) -> web.Response:
    document = await request.app[DOCUMENTS].get("openapi.json")
    return _response(request, document, {"Content-Type": "application/json; charset=utf-8"})


async def show_page(request: web.Request) -> web.Response:
    document = await request.app[DOCUMENTS].get("api.html")
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": _policy(document)}
    return _response(request, document, headers)


def _response(request: web.Request, document: Document, headers: dict[str, str]) -> web.Response:
    headers = {**headers, "Cache-Control": "no-cache", "ETag": f'"{document.etag}"'}
    if any(tag.value in (document.etag, "*") for tag in request.if_none_match or ()):
        del headers["Content-Type"]
        return web.Response(status=304, headers=headers)
    return web.Response(body=document.body, headers=headers)


def _policy(document: Document) -> str:
    """What a browser may load for the page: nothing but the page's own style."""
    found = _STYLE.search(document.body)
    digest = base64.b64encode(hashlib.sha256(found[1] if found else b"").digest()).decode()
    style = f"default-src 'none'; style-src 'sha256-{digest}'"
    return f"{style}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
