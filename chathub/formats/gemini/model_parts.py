"""The parts of Gemini's format: texts, images, and the model's own parts with their thought signatures."""

from chathub.formats import messages, request_parts
from chathub.formats.loose_json import as_object, as_string
from chathub.formats.messages import Audio, File, Image, Message, NativeBlock, TextPart, Thought, ToolCall
from chathub.formats.quirks.table import Quirks
from chathub.schemas.json import JsonObject

Part = JsonObject

# Google's own word for the signature of a call that another model made
_UNSIGNED = "skip_thought_signature_validator"
# Google's word for a kind of recording
_AUDIO = {"audio/mpeg": "audio/mp3"}


def content_part(part: messages.Part) -> list[Part]:
    """A text, image, document or recording as one part; nothing for other parts."""
    match part:
        case TextPart(text) if text:
            return [{"text": text}]
        case Image(media_type, data, url) | File(media_type, data, url):
            return [_media(media_type, data, url)]
        case Audio(media_type, data):
            return [_media(_AUDIO.get(media_type, media_type), data)]
        case NativeBlock(_, block):
            return [block]
    return []


def _media(media_type: str, data: bytes, url: str = "") -> Part:
    if url:
        kind = {"mimeType": media_type} if media_type else {}
        return {"fileData": {**kind, "fileUri": url}}
    return {"inlineData": {"mimeType": media_type, "data": request_parts.base64_of(data)}}


def assistant_parts(message: Message, own_ids: set[str], quirks: Quirks) -> list[Part]:
    """The parts of a reply, each with the signature that came with it. The ids of calls that Gemini itself
    gave are added to ``own_ids``."""
    parts: list[Part] = []
    waiting: JsonObject = {}  # of the next call
    signed: list[tuple[int, str, bool]] = []
    for part in message.parts:
        match part:
            case Thought():
                state = {} if quirks.drops_state else as_object((part.state or {}).get("gemini"))
                if "call" in state:
                    waiting = state
                elif signature := as_string(state.get("signature")):
                    signed.append((len(parts), signature, state.get("alone") is True))
            case ToolCall():
                if waiting.get("own_id") is True:
                    own_ids.add(part.id)
                parts.append(_call(part, as_string(waiting.get("signature")), own_ids))
                waiting = {}
            case _:
                parts += content_part(part)
    for place, signature, is_alone in reversed(signed):
        _sign(parts, place, signature, is_alone=is_alone)
    _sign_first_call(parts, quirks)
    return parts


def _sign(parts: list[Part], place: int, signature: str, *, is_alone: bool) -> None:
    """Put a signature to the text before or after its place, to the image before it, or into a part of its
    own."""
    for text in [] if is_alone else parts[max(0, place - 1) : place + 1]:
        if "text" in text and "thoughtSignature" not in text:
            text["thoughtSignature"] = signature
            return
    before = place
    while is_alone and before and "inlineData" in parts[before - 1]:
        before -= 1
        if "thoughtSignature" not in parts[before]:
            parts[before]["thoughtSignature"] = signature
            return
    parts.insert(place, {"text": "", "thoughtSignature": signature})


def _call(call: ToolCall, signature: str, own_ids: set[str]) -> Part:
    function: Part = {"name": call.name, "args": request_parts.arguments_of(call.arguments)}
    if call.id in own_ids:
        function = {"id": call.id, **function}
    signed = {"thoughtSignature": signature} if signature else {}
    return {"functionCall": function, **signed}


def _sign_first_call(parts: list[Part], quirks: Quirks) -> None:
    """Of calls made at once only the first is signed; one without a signature is refused by some models."""
    calls = [part for part in parts if "functionCall" in part]
    if quirks.signs_calls and calls and not any("thoughtSignature" in call for call in calls):
        calls[0]["thoughtSignature"] = _UNSIGNED
