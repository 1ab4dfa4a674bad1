"""Pages: the front end at the paths that are no route's, or without one a small page that says what runs."""

import asyncio
from html import escape

from aiohttp import web

from chathub.app_keys import FRONTEND, POLICY
from chathub.frontend.files import FrontEnd
from chathub.frontend.folder import INDEX, WELCOME, Index, OpenFile
from chathub.frontend.negotiation import accepts_html
from chathub.frontend.paths import is_asset, is_reserved, names_in
from chathub.frontend.policy import page_policy, still_policy
from chathub.handlers.http import Handler, base_path_of, is_known
from chathub.handlers.response_writer import send, send_pieces

_READING = ("GET", "HEAD")


@web.middleware
async def pages(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve pages and files, without a login. Routes come first, and a path of the API that is none keeps its
    error."""
    path = request.rel_url.raw_path
    if not isinstance(request.match_info.http_exception, web.HTTPNotFound) or is_reserved(path):
        return await handler(request)
    if FRONTEND not in request.app:
        if path == "/" and request.method in _READING and _opens_page(request):
            return await _welcome(request)
        return await handler(request)
    names = names_in(path)
    response = None if names is None else await _find(request, request.app[FRONTEND], names)
    return response or await handler(request)


async def _find(request: web.Request, frontend: FrontEnd, names: list[str]) -> web.StreamResponse | None:
    """The response with the page or file at a path; None if there is neither."""
    if request.method not in _READING:
        if not names or await frontend.has(names):
            raise web.HTTPMethodNotAllowed(request.method, _READING)
        return None
    is_index = names in ([], [INDEX])
    if not is_index and not request.rel_url.raw_path.endswith("/"):
        opened = await frontend.open(names, request.headers.get("Accept-Encoding", ""))
        if opened is not None:
            return await _send(request, frontend, opened)
        if is_asset(names[-1]):
            return None
    if not is_index and not _opens_page(request):
        return None
    index = await frontend.index()
    return None if index is None else await _page(request, index)


async def _send(request: web.Request, frontend: FrontEnd, opened: OpenFile) -> web.StreamResponse:
    request[POLICY] = page_policy()
    headers = {**opened.headers, "ETag": f'"{opened.etag}"'}
    try:
        if is_known(request, opened.etag):
            return web.Response(status=304, headers=headers)
        headers["Content-Length"] = str(opened.size)
        if request.method == "HEAD":
            return web.StreamResponse(headers=headers)
        return await send_pieces(request, frontend.pieces(opened), headers)
    finally:
        frontend.close(opened)


async def _page(request: web.Request, index: Index) -> web.StreamResponse:
    """The front end's page. Its own router reads the path: the page is the same at all of them."""
    request[POLICY] = index.policy
    headers = {"Cache-Control": "no-cache", "Vary": "Accept", "ETag": f'"{index.etag}"'}
    if is_known(request, index.etag):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = "text/html; charset=utf-8"
    return await send(request, web.Response(body=index.body, headers=headers))


async def _welcome(request: web.Request) -> web.Response:
    text = await asyncio.to_thread(WELCOME.read_text, "utf-8")
    html = text.replace("{base}", escape(base_path_of(request)))
    request[POLICY] = still_policy(html)
    headers = {"Cache-Control": "no-cache", "Vary": "Accept"}
    return web.Response(text=html, content_type="text/html", charset="utf-8", headers=headers)


def _opens_page(request: web.Request) -> bool:
    return accepts_html(request.headers.get("Accept", ""))
