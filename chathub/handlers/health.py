"""Section 1 of the API document: is the server well?"""

from typing import Any

from aiohttp import web

from chathub.backups import LastBackup
from chathub.clock import iso
from chathub.handlers.common import answer
from chathub.keys import BACKUPS, DB, DISK


async def check(request: web.Request) -> web.Response:
    """200 for as long as it answers: a restart makes no room on a disk."""
    more = _last_backup(request.app[BACKUPS].last)
    if not request.app[DB].writable:
        return answer({"status": "degraded", "message": "数据库暂时无法写入，只能读取"} | more)
    if request.app[DISK].is_full:
        return answer({"status": "degraded", "message": "磁盘空间不足，暂时不接受新的消息"} | more)
    return answer({"status": "healthy", "message": "AI API服务运行正常"} | more)


def _last_backup(last: LastBackup | None) -> dict[str, Any]:
    """When the last backup was made, and whether it was; anybody may ask, so nothing of where it lies."""
    return {"last_backup": {"at": iso(last.at), "ok": last.ok}} if last else {}
