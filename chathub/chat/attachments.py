"""Pictures that come with a question: read, limited, and kept once for each owner and content."""

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence

from chathub.database.connection import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.formats.messages import Image
from chathub.formats.urls import origin
from chathub.schemas import base64

MOST = 8
LARGEST = 5 * 1024 * 1024
# bytes of all that go upstream at once; Anthropic takes requests of 32 MB, a third of which base64 needs
MOST_TOGETHER = 20 * 1024 * 1024
_DATA_URL = re.compile(r"data:(image/[a-z.+-]+);base64,", re.IGNORECASE)
# media type → how such a file begins; what claims to be one and is not never reaches a browser
_BEGINNINGS = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
}


def read(urls: Sequence[str]) -> list[Image]:
    """Pictures out of data URLs (PNG, JPEG, GIF, WebP) and https addresses, which the provider fetches.

    Raises:
        BadRequest: too many, too large, or not a picture of these kinds.
    """
    if len(urls) > MOST:
        raise BadRequest(f"一条消息最多附带 {MOST} 张图片")
    return [_read_one(url) for url in urls]


def _read_one(url: str) -> Image:
    if url.startswith("https://") and len(url) <= 2000:
        try:
            origin(url)
        except ValueError:
            raise BadRequest("字段 images 含有无效的图片地址") from None
        return Image(url=url)
    head = _DATA_URL.match(url)
    if head is None or head[1].lower() not in _BEGINNINGS:
        raise BadRequest("字段 images 只接受 PNG、JPEG、GIF、WebP 的 data URL 或 https 地址")
    if len(url) > LARGEST * 4 // 3 + 100:
        raise BadRequest(f"图片不能超过 {LARGEST // 1024 // 1024} MB")
    try:
        data = base64.decode(url[head.end() :])
    except ValueError:
        raise BadRequest("字段 images 含有无法解码的图片") from None
    media_type = head[1].lower()
    webp = media_type == "image/webp"
    if not data.startswith(_BEGINNINGS[media_type]) or (webp and data[8:12] != b"WEBP"):
        raise BadRequest("字段 images 的内容与其类型不符")
    return Image(media_type, data)


def keep(tx: Transaction, message_id: int, user_id: int, images: Iterable[Image], now: int) -> None:
    """Store a message's pictures; the same content of the same owner is stored once."""
    for position, image in enumerate(images):
        file_id = None if image.url else _keep_file(tx, user_id, image, now)
        tx.run(tx.q.files.attach, message_id=message_id, position=position, file_id=file_id, url=image.url)


def _keep_file(tx: Transaction, user_id: int, image: Image, now: int) -> str:
    digest = hashlib.sha256(image.data).hexdigest()
    row = tx.one(tx.q.files.find, user_id=user_id, digest=digest)
    if row is not None:
        return row.id
    file_id = secrets.token_urlsafe(16)
    tx.run(
        tx.q.files.insert,
        file_id=file_id,
        user_id=user_id,
        digest=digest,
        media_type=image.media_type,
        data=image.data,
        now=now,
    )
    return file_id


def of_messages(
    tx: Transaction, message_ids: Sequence[int], most: int = MOST_TOGETHER
) -> dict[int, list[Image]]:
    """The pictures of some messages, with their bytes: of the last of them, as far as ``most`` bytes go. (One
    picture may be shown by any number of messages.)"""
    found: dict[int, list[Image]] = {}
    for message_id in reversed(message_ids):
        most -= tx.all(tx.q.files.get_size_for_message, message_id=message_id)[0].size
        if most < 0:
            break
        if rows := tx.all(tx.q.files.list_for_message, message_id=message_id):
            found[message_id] = [Image(row.media_type or "", row.data or b"", row.url) for row in rows]
    return found


def size_of(images: Iterable[Image]) -> int:
    """The bytes of those pictures that are not at an address."""
    return sum(len(image.data) for image in images)


def size_of_own(tx: Transaction, file_id: str, user_id: int) -> int:
    """The bytes of a picture, without reading them.

    Raises:
        NotFound: it is not the user's.
    """
    row = tx.one(tx.q.files.get_own_size, file_id=file_id, user_id=user_id)
    if row is None:
        raise NotFound("文件不存在")
    return row.size


def get_own(tx: Transaction, file_id: str, user_id: int) -> tuple[str, bytes]:
    """Media type and bytes of a picture.

    Raises:
        NotFound: it is not the user's.
    """
    row = tx.one(tx.q.files.get_own, file_id=file_id, user_id=user_id)
    if row is None:
        raise NotFound("文件不存在")
    return row.media_type, row.data


def of_message(tx: Transaction, message_id: int) -> list[str]:
    """The ids of the stored pictures that a message shows."""
    return [row.id for row in tx.all(tx.q.files.list_ids, message_id=message_id)]


def sweep(tx: Transaction, file_ids: Iterable[str]) -> None:
    """Remove those pictures that no message shows any more."""
    for file_id in file_ids:
        tx.run(tx.q.files.delete_unused, file_id=file_id)
