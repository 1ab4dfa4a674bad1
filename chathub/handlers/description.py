"""Section 13 of the API document: the description of the API, for programs and as a page."""

from aiohttp import web

from chathub.app_keys import DOCUMENTS, POLICY
from chathub.documents import Document
from chathub.frontend.policy import still_policy
from chathub.handlers.http import is_known
from chathub.handlers.response_writer import send


async def show(request: web.Request) -> web.StreamResponse:
    document = await request.app[DOCUMENTS].get("openapi.json")
    return await _response(request, document, "application/json")


async def show_page(request: web.Request) -> web.StreamResponse:
    document = await request.app[DOCUMENTS].get("api.html")
    request[POLICY] = still_policy(document.body.decode())
    return await _response(request, document, "text/html")


async def _response(request: web.Request, document: Document, media_type: str) -> web.StreamResponse:
    headers = {"Cache-Control": "no-cache", "ETag": f'"{document.etag}"'}
    if is_known(request, document.etag):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = f"{media_type}; charset=utf-8"
    return await send(request, web.Response(body=document.body, headers=headers))
