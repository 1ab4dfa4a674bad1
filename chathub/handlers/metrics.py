"""The metrics, for Prometheus."""

from aiohttp import web

from chathub.app_keys import SCRAPES


async def show(request: web.Request) -> web.Response:
    """All metrics in the text format of Prometheus."""
    page = await request.app[SCRAPES].page()
    headers = {"Content-Type": page.content_type, "Cache-Control": "no-store"}
    return web.Response(body=page.text, headers=headers)
