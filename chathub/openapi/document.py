"""The OpenAPI document, from the routes, their operations and the types of their bodies."""

import re
from http import HTTPStatus
from typing import Any

from chathub.openapi import errors, prose
from chathub.openapi.bodies.errors import AnthropicError, OpenAIError
from chathub.openapi.components import Components
from chathub.openapi.examples import EXAMPLES
from chathub.openapi.fields import description_of
from chathub.openapi.operation import EVENTS, FORM, JSON, Content, Header, Operation
from chathub.openapi.operations import OPERATIONS, SECTIONS
from chathub.routes import ADMIN, METRICS, PUBLIC, ROUTES, SESSION, USER, V1, Route
from chathub.schemas.errors import Error
from chathub.schemas.fields import RowId
from chathub.schemas.json import JsonObject
from chathub.version import version

# a part of a path, with the pattern that it may have
_PART = re.compile(r"\{(\w+)(?::[^}]*)?\}")
# the parts of paths that are texts: the others are ids of rows
_TEXTS = ("conversation_id", "file_id", "name", "response_id", "model")
_SECURITY: dict[str, list[JsonObject]] = {
    PUBLIC: [],
    USER: [{"sessionToken": []}, {"accessToken": []}],
    SESSION: [{"sessionToken": []}],
    ADMIN: [{"sessionToken": []}],
    METRICS: [{"metricsToken": []}, {"sessionToken": []}],
    V1: [{"accessToken": []}, {"sessionToken": []}, {"apiKeyHeader": []}],
}
_WHO = {
    PUBLIC: "Public.",
    USER: "For the signed in, and for access tokens with `opens_api`.",
    SESSION: "For the signed in; not with an access token.",
    ADMIN: "For administrators; not with an access token.",
    METRICS: "For administrators, not with an access token; and for whoever has the token of the metrics.",
    V1: "For access tokens and the signed in.",
}
_SECTION_OF = {handler: name for name, operations in SECTIONS.items() for handler in operations}
_NAMES: dict[int, str] = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "TooLarge",
    HTTPStatus.MISDIRECTED_REQUEST: "Misdirected",
}


def build() -> JsonObject:
    """The whole document."""
    builder = _Builder()
    paths: dict[str, JsonObject] = {}
    for route in ROUTES:
        paths.setdefault(_PART.sub(r"{\1}", route.path), {})[route.method.lower()] = builder.operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ChatHub",
            "version": version(),
            "summary": prose.SUMMARY,
            "description": prose.INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # relative to where the document is, which may be behind a base path
        "servers": [{"url": ".", "description": "This server"}],
        "tags": [{"name": name, "description": prose.SECTIONS[name]} for name in SECTIONS],
        "paths": paths,
        "components": builder.components(),
    }


class _Builder:
    def __init__(self) -> None:
        self._requests = Components(are_responses=False)
        self._responses = Components(are_responses=True)
        self._shared: dict[str, JsonObject] = {}

    def components(self) -> JsonObject:
        schemas = {**self._requests.schemas, **self._responses.schemas}
        if twice := self._requests.schemas.keys() & self._responses.schemas.keys():
            raise TypeError(f"both in requests and in responses: {twice}")
        return {
            "schemas": {name: schemas[name] for name in sorted(schemas)},
            "responses": {name: self._shared[name] for name in sorted(self._shared)},
            "securitySchemes": prose.SECURITY_SCHEMES,
        }

    def operation(self, route: Route) -> JsonObject:
        told, is_head = OPERATIONS[route.handler], route.method == "HEAD"
        parameters = [*self._parts(route.path), *self._query(told), *map(_sent_header, told.sent_headers)]
        security = _SECURITY[route.access]
        if told.is_signed_in_by_choice:
            security = [{}, *_SECURITY[USER]]
        return {
            "operationId": told.id + ("Head" if is_head else ""),
            "tags": [_SECTION_OF[route.handler]],
            "summary": told.summary,
            "description": "\n\n".join(filter(None, (_WHO[route.access], told.description))),
            "security": security,
            **({"parameters": parameters} if parameters else {}),
            **self._request_body(told),
            "responses": {
                "200": self._success(told, is_head),
                **(
                    {"304": {"description": "As the client has it (`If-None-Match`)"}}
                    if told.has_etag
                    else {}
                ),
                **{
                    str(status): self._error(route, told, status)
                    for status in errors.statuses_of(route, told)
                },
            },
        }

    def _parts(self, path: str) -> list[JsonObject]:
        return [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": description_of("path", name),
                "schema": self._requests.schema_of(str if name in _TEXTS else RowId),
            }
            for name in _PART.findall(path)
        ]

    def _query(self, told: Operation) -> list[JsonObject]:
        return [
            {
                "name": name,
                "in": "query",
                **({"required": True} if is_required else {}),
                "description": schema.pop("description", ""),
                "allowEmptyValue": True,
                "schema": _without_null(schema),
            }
            for kind in told.query
            for name, (schema, is_required) in self._requests.fields_of(kind).items()
        ]

    def _request_body(self, told: Operation) -> JsonObject:
        content: JsonObject = {}
        if told.body is not None:
            example = {"example": EXAMPLES[told.id]} if told.id in EXAMPLES else {}
            content[JSON] = {"schema": self._requests.schema_of(told.body), **example}
        if told.form:
            content[FORM] = {"schema": {"type": "object", "description": told.form}}
        if not content:
            return {}
        name = told.body.__name__ if told.body is not None else ""
        is_required = bool(told.form) or bool(self._requests.schemas[name].get("required"))
        return {"requestBody": {"required": is_required, "content": content}}

    def _success(self, told: Operation, is_head: bool) -> JsonObject:
        response: JsonObject = {"description": "Done"}
        if told.headers:
            response["headers"] = {
                header.name: {"description": header.description, "schema": {"type": "string"}}
                for header in told.headers
            }
        if told.responses and not is_head:
            response["content"] = {each.media_type: self._content(each) for each in told.responses}
        return response

    def _content(self, content: Content) -> JsonObject:
        described = {"description": content.description} if content.description else {}
        if content.media_type == JSON:
            return {"schema": {**self._responses.schema_of(content.kind), **described}}
        if content.media_type == EVENTS:
            # the next version of OpenAPI has a word of its own for the schema of one event
            return {"x-item-schema": {**self._responses.schema_of(content.kind), **described}}
        return {"schema": {"type": "string", **described}} if described else {}

    def _error(self, route: Route, told: Operation, status: int) -> JsonObject:
        is_program = route.access == V1
        name = ("V1" if is_program else "") + _NAMES.get(status, "".join(HTTPStatus(status).phrase.split()))
        shared = errors.shared_codes(status, is_program=is_program)
        if shared and name not in self._shared:
            self._shared[name] = self._failure(status, shared, is_program)
        own = [code for code in told.errors.get(status, "").split() if code not in shared]
        if not own:
            return {"$ref": f"#/components/responses/{name}"}
        response = self._failure(status, [*dict.fromkeys(own)], is_program)
        return {
            **response,
            **({"x-more-codes": {"$ref": f"#/components/responses/{name}"}} if shared else {}),
        }

    def _failure(self, status: int, codes: list[str], is_program: bool) -> JsonObject:
        kind: Any = OpenAIError | AnthropicError if is_program else Error
        return {
            "description": HTTPStatus(status).phrase,
            "content": {JSON: {"schema": self._responses.schema_of(kind)}},
            "x-codes": codes,
        }


def _sent_header(header: Header) -> JsonObject:
    schema = {"type": "string"}
    return {"name": header.name, "in": "header", "description": header.description, "schema": schema}


def _without_null(schema: JsonObject) -> JsonObject:
    """The schema of a query parameter: an absent one is no null."""
    kinds = schema.get("type")
    if isinstance(kinds, list):
        (kind,) = [each for each in kinds if each != "null"]
        schema = {**schema, "type": kind}
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    return schema
