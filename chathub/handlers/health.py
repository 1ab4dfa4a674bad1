"""Section 1 of the API document: is the server well?"""

from aiohttp import web

from chathub.handlers.common import answer
from chathub.keys import DB


async def check(request: web.Request) -> web.Response:
    """200 for as long as it answers: a restart makes no room on a disk."""
    if not request.app[DB].writable:
        return answer({"status": "degraded", "message": "数据库暂时无法写入，只能读取"})
    return answer({"status": "healthy", "message": "AI API服务运行正常"})
