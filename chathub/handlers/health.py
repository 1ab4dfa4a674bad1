"""Section 1 of the API document: is the server well?"""

from typing import Any

from aiohttp import web

from chathub.app_keys import BACKUPS, DB, DISK
from chathub.backup_schedule import LastBackup
from chathub.clock import iso
from chathub.database.condition import State
from chathub.handlers.http import answer

# what goes on meanwhile; what a request has met is another sentence (``database/condition.py``)
_SENTENCES: dict[State, str] = {
    "read-only": "数据库暂时无法写入，只能读取",
    "full": "磁盘空间不足，暂时不接受新的消息",
    "locked": "数据库正被其他程序占用，暂时只能读取",
    "damaged": "数据库已损坏，部分内容无法读写",
    "missing": "数据库文件已被删除或替换，暂时不接受新的消息",
}


async def check(request: web.Request) -> web.Response:
    """200 for as long as it answers: a restart makes no room on a disk."""
    state = request.app[DB].condition.state
    if request.app[DISK].is_full and state in ("ok", "checking"):
        state = "full"
    sentence = _SENTENCES.get(state)
    status = {"status": "degraded" if sentence else "healthy", "message": sentence or "AI API服务运行正常"}
    return answer(status | {"database": state} | _last_backup(request.app[BACKUPS].last))


def _last_backup(last: LastBackup | None) -> dict[str, Any]:
    """When the last backup was made, and whether it was; anybody may ask, so nothing of where it lies."""
    return {"last_backup": {"at": iso(last.at), "ok": last.ok}} if last else {}
