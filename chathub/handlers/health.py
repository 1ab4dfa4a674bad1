"""Section 1 of the API document: whether the server is healthy."""

from aiohttp import web
from msgspec import UNSET

from chathub.app_keys import BACKUPS, DB, DISK
from chathub.clock import iso
from chathub.database.condition import State
from chathub.handlers.http import json_response
from chathub.schemas import health

# what lasts; a request that fails because of it gets another sentence (``database/condition.py``)
_SENTENCES: dict[State, str] = {
    "read-only": "数据库暂时无法写入，只能读取",
    "full": "磁盘空间不足，暂时不接受新的消息",
    "locked": "数据库正被其他程序占用，暂时只能读取",
    "damaged": "数据库已损坏，部分内容无法读写",
    "missing": "数据库文件已被删除或替换，暂时不接受新的消息",
}


async def check(request: web.Request) -> web.Response:
    """200 for as long as the server responds: a restart would not free a disk."""
    state = request.app[DB].condition.state
    if request.app[DISK].is_full and state in ("ok", "checking"):
        state = "full"
    sentence, last = _SENTENCES.get(state), request.app[BACKUPS].last
    return json_response(
        health.Health(
            status="degraded" if sentence else "healthy",
            message=sentence or "AI API服务运行正常",
            database=state,
            last_backup=health.LastBackup(iso(last.at), last.ok) if last else UNSET,
        )
    )
