"""Attachments in Gemini's format: the parts ``inlineData`` and ``fileData``.

Source: Google's API reference (``Part``, ``Blob``, ``FileData``).
"""

from chathub.formats import attachments
from chathub.formats.events import Attachment
from chathub.formats.loose_json import as_object, as_string
from chathub.schemas.json import JsonObject


def in_part(part: JsonObject) -> Attachment | None:
    """The attachment of a part. Pictures that the model makes while it thinks are none."""
    if part.get("thought") is True:
        return None
    if inline := as_object(part.get("inlineData") or part.get("inline_data")):
        kind = as_string(inline.get("mimeType") or inline.get("mime_type"))
        name = as_string(inline.get("displayName"))
        return attachments.from_base64(as_string(inline.get("data")), kind, name)
    if file := as_object(part.get("fileData") or part.get("file_data")):
        kind = as_string(file.get("mimeType") or file.get("mime_type"))
        url = as_string(file.get("fileUri") or file.get("file_uri"))
        return attachments.from_url(url, kind, as_string(file.get("displayName")))
    return None
