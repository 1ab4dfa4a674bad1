"""Pictures of messages, for their owner only."""

from aiohttp import web

from chathub.chat import pictures
from chathub.handlers.writing import large
from chathub.keys import CALLER, DB


@large
async def get(request: web.Request) -> web.Response:
    file_id, user_id = request.match_info["file_id"], request[CALLER].id
    media_type, data = await request.app[DB].read_slowly(user_id, pictures.get_own, file_id, user_id)
    headers = {"Cache-Control": "private, max-age=86400, immutable"}
    return web.Response(body=data, content_type=media_type, headers=headers)
