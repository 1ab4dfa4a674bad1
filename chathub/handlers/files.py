"""Images of messages and attachments of replies, for their owner only."""

from aiohttp import web
from aiohttp.helpers import content_disposition_header

from chathub.app_keys import CALLER, DB, RESPONSE_MEMORY
from chathub.chat import attachments
from chathub.formats.media import IMAGES
from chathub.handlers.response_writer import send


async def get(request: web.Request) -> web.StreamResponse:
    file_id, user_id, db = request.match_info["file_id"], request[CALLER].id, request.app[DB]
    size = await db.read_background(user_id, attachments.get_size, file_id, user_id)
    async with request.app[RESPONSE_MEMORY].room(user_id, size):
        file = await db.read_background(user_id, attachments.get_file, file_id, user_id)
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        if not _is_shown(file.media_type):
            headers["Content-Disposition"] = content_disposition_header(
                "attachment", filename=file.name or "file"
            )
        headers["Content-Type"] = file.media_type
        return await send(request, web.Response(body=file.data, headers=headers))


def _is_shown(media_type: str) -> bool:
    """Whether a browser may show a file: what may hold scripts (SVG, HTML) is only saved."""
    return media_type in IMAGES or media_type.startswith(("audio/", "video/"))
