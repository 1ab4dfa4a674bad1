"""How large a piece of a response may be that has an image or a recording in it.

Which models give media is not known beforehand, so what came decides: a longer line or body is read on only
if media has begun in it.
"""

# bytes of one event or body with media, as base64; an image of 20 MiB fits, and one that is a little larger
MOST = 32 * 1024 * 1024
# what stands before base64 in the formats of providers
_MARKS = (
    *(b";base64,", b"inlineData", b"inline_data", b'"audio"', b"b64_json", b'"base64"', b"output_image"),
    b"image_generation_call",
)


def has_media(beginning: bytes | bytearray) -> bool:
    """Whether an image or a recording has begun in a piece of a response."""
    return any(mark in beginning for mark in _MARKS)
