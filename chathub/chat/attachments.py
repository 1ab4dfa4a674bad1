"""Images of messages: decoded, limited, and stored once for each owner and content."""

import hashlib
import secrets
from collections.abc import Iterable, Sequence

from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.formats.images import ImageDecoder, ImageError, ImageLimits, Problem
from chathub.formats.messages import Image

# bytes of all images in one request to a provider; Anthropic takes requests of 32 MB, and base64 makes them a
# third larger
MOST_BYTES_SENT = 20 * 1024 * 1024
LIMITS = ImageLimits(count=8, size=5 * 1024 * 1024, total=8 * 5 * 1024 * 1024, address=2000, strict=True)

_PROBLEMS: dict[Problem, str] = {
    "count": f"一条消息最多附带 {LIMITS.count} 张图片",
    "host": "字段 images 含有无效的图片地址",
    "size": f"图片不能超过 {LIMITS.size // 1024 // 1024} MB",
    "encoding": "字段 images 含有无法解码的图片",
    "content": "字段 images 的内容与其类型不符",
}
_OTHER_PROBLEM = "字段 images 只接受 PNG、JPEG、GIF、WebP 的 data URL 或 https 地址"


def decode_images(urls: Sequence[str]) -> list[Image]:
    """The images of data URLs (PNG, JPEG, GIF, WebP) and of https URLs, which the provider fetches.

    Raises:
        BadRequest: too many images, an image that is too large, or none of these types.
    """
    decoder = ImageDecoder(LIMITS)
    try:
        if len(urls) > LIMITS.count:
            raise ImageError("count")
        return [decoder.decode_url(url) for url in urls]
    except ImageError as error:
        raise BadRequest(_PROBLEMS.get(error.problem, _OTHER_PROBLEM)) from None


def insert_images(tx: Transaction, message_id: int, user_id: int, images: Iterable[Image], now: int) -> None:
    """Store a message's images; the same content of the same owner is stored once."""
    for position, image in enumerate(images):
        file_id = None if image.url else _find_or_insert_file(tx, user_id, image, now)
        tx.run(
            tx.q.files.insert_image,
            message_id=message_id,
            position=position,
            file_id=file_id,
            url=image.url,
            at=image.at,
        )


def _find_or_insert_file(tx: Transaction, user_id: int, image: Image, now: int) -> str:
    digest = hashlib.sha256(image.data).hexdigest()
    row = tx.one(tx.q.files.find_by_digest, user_id=user_id, digest=digest)
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


def load_images(
    tx: Transaction, message_ids: Sequence[int], most: int = MOST_BYTES_SENT
) -> dict[int, list[Image]]:
    """The images of the newest of these messages, together at most ``most`` bytes, by message. An image of
    several messages counts for each of them."""
    loaded: dict[int, list[Image]] = {}
    for message_id in reversed(message_ids):
        most -= tx.all(tx.q.files.get_size_for_message, message_id=message_id)[0].size
        if most < 0:
            break
        if rows := tx.all(tx.q.files.list_for_message, message_id=message_id):
            loaded[message_id] = [
                Image(row.media_type or "", row.data or b"", row.url, row.at) for row in rows
            ]
    return loaded


def image_bytes(images: Iterable[Image]) -> int:
    """The bytes of the images that are not given as a URL."""
    return sum(len(image.data) for image in images)


def get_size(tx: Transaction, file_id: str, user_id: int) -> int:
    """The bytes of a user's image, without reading it.

    Raises:
        NotFound: the user has no such image.
    """
    row = tx.one(tx.q.files.get_own_size, file_id=file_id, user_id=user_id)
    if row is None:
        raise NotFound("文件不存在")
    return row.size


def get_image(tx: Transaction, file_id: str, user_id: int) -> tuple[str, bytes]:
    """Media type and bytes of a user's image.

    Raises:
        NotFound: the user has no such image.
    """
    row = tx.one(tx.q.files.get_own, file_id=file_id, user_id=user_id)
    if row is None:
        raise NotFound("文件不存在")
    return row.media_type, row.data


def list_files(tx: Transaction, message_id: int) -> list[str]:
    """The ids of a message's stored images."""
    return [row.id for row in tx.all(tx.q.files.list_ids_for_message, message_id=message_id)]


def delete_unused_files(tx: Transaction, file_ids: Iterable[str]) -> None:
    """Delete the images that no message shows any more."""
    for file_id in file_ids:
        tx.run(tx.q.files.delete_unused, file_id=file_id)
