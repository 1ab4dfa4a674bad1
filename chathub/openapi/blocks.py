"""The description as headings, texts and tables, from the OpenAPI document: for people, in any form."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from chathub.schemas.json import JsonObject

_LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "like `{}`",
}


class Heading(NamedTuple):
    level: int
    text: str

    @property
    def anchor(self) -> str:
        """As GitHub makes it of a heading in Markdown."""
        return re.sub(r"[^\w\- ]", "", self.text.lower()).replace(" ", "-")


class Text(NamedTuple):
    """A paragraph with code in back-ticks, links and bold words as in Markdown."""

    text: str


class Table(NamedTuple):
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


class Code(NamedTuple):
    """Lines of JSON."""

    text: str


Block = Heading | Text | Table | Code


def blocks_of(document: JsonObject) -> Iterator[Block]:
    """All of the document, in order."""
    for paragraph in document["info"]["description"].split("\n\n"):
        yield Text(" ".join(paragraph.split()))
    for number, tag in enumerate(document["tags"], 1):
        yield Heading(2, f"{number} {tag['name']}")
        yield Text(tag["description"])
        for path, method, operation in operations_of(document, tag["name"]):
            yield Heading(3, f"{method} {path}")
            yield from _operation(operation)
    yield Heading(2, "Types")
    for name, schema in document["components"]["schemas"].items():
        yield Heading(3, name)
        yield from _type(schema)
    yield Heading(2, "Shared errors")
    yield Text("The codes that many operations have, by the name of the response in `components.responses`.")
    rows = [
        (f"`{name}`", response["description"], _words(response["x-codes"]))
        for name, response in document["components"]["responses"].items()
    ]
    yield Table(("response", "", "codes"), rows)


def operations_of(document: JsonObject, tag: str) -> Iterator[tuple[str, str, JsonObject]]:
    """Path, method and operation of a section."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield path, method.upper(), operation


def _operation(operation: JsonObject) -> Iterator[Block]:
    yield Text(f"**{operation['summary']}.** `{operation['operationId']}`")
    for paragraph in operation["description"].split("\n\n"):
        yield Text(paragraph)
    if parameters := operation.get("parameters"):
        rows = [
            (f"`{each['name']}`", each["in"], _kind(each["schema"]), each["description"])
            for each in parameters
        ]
        yield Table(("parameter", "in", "type", "meaning"), rows)
    if body := operation.get("requestBody"):
        needed = "" if body["required"] else "; it may be left out"
        yield Text(f"Body: {', or '.join(map(_content, body['content'].items()))}{needed}.")
        yield from (Code(_pretty(each["example"])) for each in body["content"].values() if "example" in each)
    responses = operation["responses"]
    shared = [status for status, response in responses.items() if "$ref" in response]
    own = [(status, *_response(responses[status])) for status in responses if status not in shared]
    yield Table(("status", "body", "codes of its own"), own)
    if shared:
        yield Text(f"[Shared errors](#shared-errors): {', '.join(shared)}.")


def _response(response: JsonObject) -> tuple[str, str]:
    if "x-codes" in response:
        (schema,) = [content["schema"] for content in response["content"].values()]
        return _kind(schema), _words(response["x-codes"])
    told = "; or ".join(map(_content, response.get("content", {}).items()))
    headers = [f"`{name}`: {header['description']}" for name, header in response.get("headers", {}).items()]
    return ". ".join(filter(None, (told, *headers))), ""


def _content(content: tuple[str, JsonObject]) -> str:
    media_type, told = content
    schema = told.get("schema") or told.get("x-item-schema", {})
    text = schema.get("description", "")
    if media_type == "application/json":
        return " ".join(filter(None, (_kind(schema), f"({text})" if text else "")))
    if "x-item-schema" in told:
        kinds = f"events, each {_kind(schema)}"
        return f"{kinds} ({text})" if text else kinds
    return f"`{media_type}`" + (f" ({text})" if text else "")


def _type(schema: JsonObject) -> Iterator[Block]:
    if text := schema.get("description"):
        for paragraph in text.split("\n\n"):
            yield Text(paragraph)
    if "enum" in schema:
        yield Text(_words(schema["enum"]))
    if fields := schema.get("properties"):
        required = schema.get("required", ())
        rows = [
            (
                f"`{name}`",
                _kind(field) + ("" if name in required else ", optional"),
                field.get("description", ""),
            )
            for name, field in fields.items()
        ]
        yield Table(("field", "type", "meaning"), rows)


def _kind(schema: JsonObject) -> str:
    """A type in words, with its limits."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if "const" in schema:
        return f"`{_json(schema['const'])}`"
    kinds = schema.get("type", "any JSON")
    kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if "items" in schema:
        kind = kind.replace("array", f"array of {_kind(schema['items'])}" if schema["items"] else "array")
    if isinstance(schema.get("additionalProperties"), dict):
        kind = kind.replace("object", f"object of {_kind(schema['additionalProperties'])}")
    if "enum" in schema:
        kind = " or ".join(f"`{_json(value)}`" for value in schema["enum"])
    limits = [text.format(schema[name]) for name, text in _LIMITS.items() if name in schema]
    if "default" in schema:
        limits.append(f"default `{_json(schema['default'])}`")
    return ", ".join((kind, *limits))


def _pretty(example: JsonObject) -> str:
    """On one line where it is short."""
    line = json.dumps(example, ensure_ascii=False)
    return line if len(line) <= 80 else json.dumps(example, ensure_ascii=False, indent=2)


def _json(value: Any) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _words(codes: list[str]) -> str:
    return ", ".join(f"`{code}`" for code in codes)
