"""Images of prompts and attachments of replies, stored once for each owner and content."""

import hashlib
import secrets
from collections.abc import Iterable, Sequence

from chathub.chat.trimming import newest_kept
from chathub.database.rows.files import StoredFile
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.formats.events import Attachment
from chathub.formats.images import ImageDecoder, ImageError, ImageLimits, image_reason
from chathub.formats.messages import Image

# bytes of all images in one request to a provider; Anthropic takes requests of 32 MB, and base64 makes them a
# third larger
MOST_BYTES_SENT = 20 * 1024 * 1024
LIMITS = ImageLimits(count=8, size=5 * 1024 * 1024, total=8 * 5 * 1024 * 1024, address=2000, strict=True)


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
        raise BadRequest.of(image_reason(error.problem, LIMITS, "images")) from None


def insert_images(tx: Transaction, message_id: int, user_id: int, images: Iterable[Image], now: int) -> None:
    """Store a message's images; the same content of the same owner is stored once."""
    for position, image in enumerate(images):
        file_id = None if image.url else _find_or_insert_file(tx, user_id, image.media_type, image.data, now)
        tx.run(
            tx.q.files.insert_image,
            message_id=message_id,
            position=position,
            file_id=file_id,
            url=image.url,
            at=image.at,
        )


def insert_attachment(
    tx: Transaction,
    message_id: int,
    user_id: int,
    attachment: Attachment,
    *,
    position: int,
    text_before: int,
    now: int,
) -> str | None:
    """Store an attachment of a reply; gives the id of its file (None: it has an address)."""
    kind, data = attachment.media_type, attachment.data
    file_id = None if attachment.url else _find_or_insert_file(tx, user_id, kind, data, now)
    tx.run(
        tx.q.files.insert_attachment,
        message_id=message_id,
        position=position,
        file_id=file_id,
        url=attachment.url,
        media_type=kind,
        name=attachment.name,
        transcript=attachment.transcript,
        text_before=text_before,
    )
    return file_id


def _find_or_insert_file(tx: Transaction, user_id: int, media_type: str, data: bytes, now: int) -> str:
    digest = hashlib.sha256(data).hexdigest()
    row = tx.one(tx.q.files.find_by_digest, user_id=user_id, digest=digest)
    if row is not None:
        return row.id
    file_id = secrets.token_urlsafe(16)
    tx.run(
        tx.q.files.insert,
        file_id=file_id,
        user_id=user_id,
        digest=digest,
        media_type=media_type,
        data=data,
        now=now,
    )
    return file_id


def load_images(tx: Transaction, message_ids: Sequence[int], used: int = 0) -> dict[int, list[Image]]:
    """The images of the newest of these messages, by message: as many as may be sent beside ``used`` bytes of
    others. An image of several messages counts for each of them."""
    loaded: dict[int, list[Image]] = {}
    sizes = (
        (message_id, tx.all(tx.q.files.get_size_for_message, message_id=message_id)[0].size)
        for message_id in reversed(message_ids)
    )
    count = newest_kept(sizes, used, MOST_BYTES_SENT)
    for message_id in message_ids[len(message_ids) - count :]:
        rows = tx.all(tx.q.files.list_for_message, message_id=message_id)
        if rows := rows or tx.all(tx.q.files.list_made_for_message, message_id=message_id):
            loaded[message_id] = [
                Image(row.media_type or "", row.data or b"", row.url, row.at) for row in rows
            ]
    return loaded


def image_bytes(images: Iterable[Image]) -> int:
    """The bytes of the images that are not given as a URL."""
    return sum(len(image.data) for image in images)


def get_size(tx: Transaction, file_id: str, user_id: int) -> int:
    """The bytes of a user's image or attachment, without reading it.

    Raises:
        NotFound: the user has no such file.
    """
    row = tx.one(tx.q.files.get_own_size, file_id=file_id, user_id=user_id)
    if row is None:
        raise NotFound("file_not_found")
    return row.size


def get_file(tx: Transaction, file_id: str, user_id: int) -> StoredFile:
    """A user's image or attachment.

    Raises:
        NotFound: the user has no such file.
    """
    row = tx.one(tx.q.files.get_own, file_id=file_id, user_id=user_id)
    if row is None:
        raise NotFound("file_not_found")
    return row


def list_files(tx: Transaction, message_id: int) -> list[str]:
    """The ids of a message's stored images and attachments."""
    return [row.id for row in tx.all(tx.q.files.list_ids_for_message, message_id=message_id)]


def delete_unused_files(tx: Transaction, file_ids: Iterable[str]) -> None:
    """Delete the files that no message shows any more."""
    for file_id in file_ids:
        tx.run(tx.q.files.delete_unused, file_id=file_id)
