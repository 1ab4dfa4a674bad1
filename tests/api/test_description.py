"""The description of the API: complete, fresh, and as the server sends it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from aiohttp.test_utils import TestClient

from chathub.openapi import fields
from chathub.openapi.document import build
from chathub.openapi.examples import EXAMPLES
from chathub.openapi.files import written
from chathub.openapi.operations import OPERATIONS, SECTIONS
from chathub.routes import ROUTES
from chathub.schemas.json import JsonObject

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def document() -> JsonObject:
    return build()


def documented_codes() -> dict[str, list[str]]:
    """The statuses of each code, in the list of errors."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", (DOCS / "errors.md").read_text("utf-8"), re.M)
    return {code: statuses.split(", ") for code, statuses in rows}


def operations(document: JsonObject) -> Iterator[JsonObject]:
    for methods in document["paths"].values():
        yield from methods.values()


@pytest.mark.parametrize("name", sorted(written()))
def test_file_is_what_the_routes_and_types_give(name: str) -> None:
    """Else run ``make docs``."""
    assert (DOCS / name).read_text("utf-8") == written()[name]


def test_every_route_has_an_operation_and_every_operation_a_route() -> None:
    assert {route.handler for route in ROUTES} == set(OPERATIONS)
    assert len(OPERATIONS) == sum(map(len, SECTIONS.values()))


def test_ids_of_operations_are_all_different(document: JsonObject) -> None:
    ids = [operation["operationId"] for operation in operations(document)]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[a-z]\w+", each) for each in ids)


def test_document_is_openapi(document: JsonObject) -> None:
    """Every schema is one of JSON Schema 2020-12, and every reference leads somewhere."""
    for name, schema in document["components"]["schemas"].items():
        jsonschema_rs.meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})
        assert re.fullmatch(r"[A-Z]\w+", name)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        place: Any = document
        for part in reference.split("/"):
            place = place[part]


def test_codes_are_those_of_the_list_of_errors_with_their_statuses(document: JsonObject) -> None:
    known = documented_codes()
    for operation in operations(document):
        for status, answer in operation["responses"].items():
            for code in answer.get("x-codes", ()):
                assert code in known, code
                # at /v1 a provider's own status is passed on
                if "For programs" not in operation["tags"]:
                    assert status in known[code], (operation["operationId"], status, code)


def test_every_field_and_parameter_has_a_description_in_english(document: JsonObject) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, inner in schema.get("properties", {}).items():
            assert inner.get("description") or "$ref" in inner or "const" in inner, f"{name}.{field}"
    for operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (operation["operationId"], parameter["name"])
    assert not re.search(r"[\u3000-\u9fff]", json.dumps(document, ensure_ascii=False))


def test_no_description_is_of_a_field_that_is_gone(document: JsonObject) -> None:
    there = {
        (name, field)
        for name, schema in document["components"]["schemas"].items()
        for field in schema.get("properties", {})
    }
    names = {field for _, field in there}
    for operation in operations(document):
        names |= {parameter["name"] for parameter in operation.get("parameters", ())}
    shared, of_one = fields.known()
    assert not shared - names
    queries = {kind.__name__ for told in OPERATIONS.values() for kind in told.query}
    for name in of_one:
        kind, field = name.split(".")
        assert (kind, field) in there or kind in queries or kind == "path", name


def test_examples_are_what_the_operation_takes(document: JsonObject) -> None:
    schemas = {"components": {"schemas": document["components"]["schemas"]}}
    shown = set()
    for operation in operations(document):
        told = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in told:
            jsonschema_rs.validate({**told["schema"], **schemas}, told["example"])
            shown.add(operation["operationId"])
    assert shown == set(EXAMPLES)


async def test_description_and_page_are_public_and_cached(client: TestClient) -> None:
    for path, kind in (("/openapi.json", "application/json"), ("/docs", "text/html")):
        async with client.get(path) as response:
            assert response.status == 200 and response.content_type == kind
            tag, body = response.headers["ETag"], await response.read()
        async with client.head(path) as response:
            assert response.status == 200 and response.headers["Content-Length"] == str(len(body))
        async with client.get(path, headers={"If-None-Match": f'"other", {tag}'}) as response:
            assert response.status == 304 and await response.read() == b""
            assert response.headers["ETag"] == tag
        async with client.get(f"{path}/more") as response:
            assert response.status == 404 and (await response.json())["code"] == "not_found"
    assert json.loads((DOCS / "openapi.json").read_text("utf-8"))["openapi"] == "3.1.0"


async def test_page_may_load_nothing_but_its_own_style(client: TestClient) -> None:
    async with client.get("/docs") as response:
        policy, page = response.headers["Content-Security-Policy"], await response.text()
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|\bsrc=|\bstyle=", page)
    # other pages are reached relative to this one, also behind a base path
    targets = set(re.findall(r'href="([^"]*)"', page))
    assert {target for target in targets if not target.startswith("#")} == {"openapi.json"}
    ids = re.findall(r'id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in targets if target.startswith("#")} <= set(ids)
