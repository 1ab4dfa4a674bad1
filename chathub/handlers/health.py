"""Section 1 of the API document: is the server well?"""

from aiohttp import web

from chathub.handlers.common import answer


async def check(request: web.Request) -> web.Response:
    return answer({"status": "healthy", "message": "AI API服务运行正常"})
