"""Section 1 of the API document: is the server well?"""

from aiohttp import web

from chathub.handlers.common import answer
from chathub.keys import DB, DISK


async def check(request: web.Request) -> web.Response:
    """200 for as long as it answers: a restart makes no room on a disk."""
    if not request.app[DB].writable:
        return answer({"status": "degraded", "message": "数据库暂时无法写入，只能读取"})
    if request.app[DISK].is_full:
        return answer({"status": "degraded", "message": "磁盘空间不足，暂时不接受新的消息"})
    return answer({"status": "healthy", "message": "AI API服务运行正常"})
