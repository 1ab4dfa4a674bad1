"""Images of messages, for their owner only."""

from aiohttp import web

from chathub.app_keys import CALLER, DB, RESPONSE_MEMORY
from chathub.chat import attachments
from chathub.handlers.response_writer import send


async def get(request: web.Request) -> web.StreamResponse:
    file_id, user_id, db = request.match_info["file_id"], request[CALLER].id, request.app[DB]
    size = await db.read_background(user_id, attachments.get_size, file_id, user_id)
    async with request.app[RESPONSE_MEMORY].room(user_id, size):
        media_type, data = await db.read_background(user_id, attachments.get_image, file_id, user_id)
        headers = {"Cache-Control": "private, max-age=86400, immutable"}
        return await send(request, web.Response(body=data, content_type=media_type, headers=headers))
