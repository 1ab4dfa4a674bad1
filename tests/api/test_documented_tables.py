"""The tables of the API document are true: each is read from the document and tried at the server."""

import argparse
import asyncio
import io
import json
import re
from typing import Any

import documented
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from chats import Headers
from documented import Field, codes, endpoints, examples, fields, number, numbers, sections, table, tables

from chathub.config import Config
from chathub.config_reading import load
from chathub.routes import ROUTES

pytestmark = pytest.mark.shared

RIGHTS = {
    "公开": "public",
    "登录": "user",
    "会话": "session",
    "管理员": "admin",
    "管理员或指标令牌": "metrics",
}
USERS = "4. 用户认证"
LIMITS = "限额一览"
# what is of no type that a field has
WRONG = [[1]]
# what a list holds, where that is no object of any content
ITEMS: dict[str, Any] = {
    "model_orders": {"id": 1, "sort_order": 1},
    "allowed_models": "a",
    "allowed_networks": "a",
    "targets": {"model_name": "a"},
    "tool_results": {"tool_call_id": "a", "content": "a"},
}


async def refused(
    client: TestClient, method: str, path: str, body: bytes | dict[str, Any], headers: Headers
) -> str:
    """The sentence of a 400."""
    data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    sent = {**headers, "Content-Type": "application/json"}
    async with client.request(method, path, data=data, headers=sent) as response:
        return await sentence_of(response, 400)


def path_of(path: str) -> str:
    """A documented path with ids that nobody has."""
    return re.sub(r"\{\w+\}", "987654", path)


async def sentence_of(response: ClientResponse, status: int) -> str:
    body = await response.json()
    assert response.status == status, body
    error = body["error"]
    return str(error["message"] if isinstance(error, dict) else error)


# endpoints


def test_every_link_within_the_document_leads_to_a_heading() -> None:
    slugs = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in sections()}
    links = re.findall(r"\]\(#([^)]+)\)", documented.DOCUMENT.read_text("utf-8"))
    assert len(links) > 50 and set(links) <= slugs


def test_every_route_is_documented_in_its_order_with_its_right() -> None:
    told = [
        (method, path, RIGHTS[re.split(r"[，。]", text.strip())[0]])
        for (method, path), text in endpoints().items()
    ]
    v1 = [
        tuple(code.split())
        for row in table(sections()["11. 兼容接口（/v1）"], "接口").rows
        for code in codes(row[0])
    ]
    served = [
        (it.method, it.path, it.access)
        for it in ROUTES
        if not it.path.startswith("/v1") and it.method != "HEAD"
    ]
    assert told == served
    assert "HEAD /api/health" in codes(endpoints()["GET", "/api/health"])
    assert v1 == [
        (it.method, it.path.replace("{model:.+}", "{id}")) for it in ROUTES if it.path.startswith("/v1")
    ]


@pytest.mark.parametrize(("method", "path"), endpoints())
async def test_an_id_that_nobody_has_gets_the_documented_404(
    client: TestClient, admin: Headers, method: str, path: str
) -> None:
    text = endpoints()[method, path]
    named = re.search(r"404(?! ?/)(?: `([^`…]+)`)?", text)
    if "{" not in path or path == "/api/subscriptions/{name}":
        return
    assert named, "no 404 is documented"
    body = {"content": "x", "models": ["x"], "title": "x"}
    async with client.request(
        method, path_of(path), headers=admin, json=None if method in ("GET", "DELETE") else body
    ) as response:
        said = await sentence_of(response, 404)
    assert named[1] in (None, said), said


# fields


def bounded(method: str, path: str, text: str, first: str) -> list[Any]:
    """The fields of an endpoint's tables, each with all others of the same request."""
    found = [field for it in tables(text) if it.head[0] == first for field in fields(it)]
    return [pytest.param(method, path, field, found, id=f"{method} {path} {field.name}") for field in found]


def all_fields() -> list[Any]:
    """What is in bodies: of each endpoint, of accounts, and of tools."""
    found = [
        one
        for (method, path), text in endpoints().items()
        if method != "GET"
        for one in bounded(method, path, text, "字段")
    ]
    accounts = list(fields(table(sections()[USERS], "字段规则")))
    others = [
        Field(it.name, it.kind, required=it.name in ("username", "email", "password")) for it in accounts
    ]
    tools = list(fields(table(sections()["工具"], "字段")))
    chat = [Field("model", "字符串", required=True), Field("resumable", "布尔")]
    rest = [("/api/auth/admin/register", it, [*others, Field("is_active", "布尔")]) for it in accounts]
    rest += [("/api/chat", it, [*chat, *tools]) for it in tools]
    return found + [
        pytest.param("POST", path, it, beside, id=f"POST {path} {it.name}, the rules")
        for path, it, beside in rest
    ]


def sample(field: Field, size: float | None = None) -> Any:
    """A value of the field's type; of a size where one is given."""
    if field.words:
        return field.words[0]
    if field.kind in ("整数", "数字"):
        value = field.lowest or 1 if size is None else size
        return int(value) if value == int(value) else value
    if field.kind == "数组":
        return [ITEMS.get(field.name, {})] * int(size if size is not None else 1)
    return {"布尔": True}.get(field.kind, "a" * int(size if size is not None else field.lowest or 7))


def shown(name: str) -> str:
    """A field as sentences call it."""
    return {"username": "用户名", "password": "密码"}.get(name, f"字段 {name} ")


def limits_told(field: Field) -> set[str]:
    """What may be said of a value that is too small or too large."""
    name, least, most = shown(field.name), grouped(field.lowest), grouped(field.highest)
    if field.kind in ("整数", "数字"):
        return {f"{name}应在 {least} 到 {most} 之间"}
    if field.kind == "数组":
        return {f"{name}最多 {most} 项", f"{name}不能是空数组"}
    return {f"{name}最多 {most} 个字符"} | (
        {f"{name}不能为空"} if field.lowest == 1 else {f"{name}至少 {least} 个字符"}
    )


def grouped(number: float | None) -> str:
    """A number as sentences write it."""
    if number is None:
        return ""
    number = int(number) if number == int(number) else number
    return f"{number:,}" if abs(number) >= 10_000 else str(number)


@pytest.mark.parametrize(("method", "path", "field", "beside"), all_fields())
async def test_a_field_takes_what_is_documented_and_no_more(
    client: TestClient, admin: Headers, method: str, path: str, field: Field, beside: list[Field]
) -> None:
    """A second field is wrong in each request, which changes nothing therefore: of two the first is told."""
    needed = {it.name: sample(it) for it in beside if it.required and it.name != field.name}
    # the last one that is read and takes no list
    others = [it for it in beside if it.name != field.name and it.kind in ("布尔", "整数", "字符串", "词")]
    wrong = next((it.name for it in reversed(others) if it.name != "message"), "")

    async def told(value: Any, *, alone: bool = False) -> str:
        body = {field.name: value, **needed} | ({wrong: WRONG} if wrong and not alone else {})
        return await refused(client, method, path_of(path), body, admin)

    for word in field.words:
        assert f"字段 {wrong}" in await told(word), word
    if field.words:
        # a provider's format is looked up in the registry, once the whole body is read
        said = await told("beside", alone=field.name == "protocol")
        named, _, allowed = said.partition("只能是 ")
        assert named == shown(field.name) and set(re.split("、| 或 ", allowed)) == set(field.words)
    is_number = field.kind in ("整数", "数字")
    step = 0.01 if field.kind == "数字" else 1
    for bound, beyond in ((field.lowest, -step), (field.highest, step)):
        if bound is None or (bound == 0 and not is_number):
            continue
        if field.kind != "数组":
            assert f"字段 {wrong}" in await told(sample(field, bound)), bound
        said = await told(sample(field, bound + beyond))
        assert said in limits_told(field), said
    if field.required:
        said = await refused(client, method, path_of(path), needed, admin)
        assert said == f"缺少必填字段 {field.name}"


@pytest.mark.parametrize(
    ("method", "path", "field", "beside"),
    [
        one
        for (method, path), text in endpoints().items()
        if method == "GET"
        for one in bounded(method, path, text, "查询参数")
    ],
)
async def test_a_query_parameter_takes_what_is_documented_and_no_more(
    client: TestClient, admin: Headers, method: str, path: str, field: Field, beside: list[Field]
) -> None:
    if "{" in path:
        # its own conversation has to be there
        path = "/api/conversations" if field.name == "limit" else "/api/health"
    good: list[Any] = [*field.words, "", *(it for it in (field.lowest, field.highest) if it is not None)]
    bad: list[Any] = ["beside"] * bool(field.words) + ["maybe"] * (field.kind == "布尔")
    if field.kind == "字符串" and field.highest:
        good, bad = ["a" * int(field.highest)], ["a" * int(field.highest + 1)]
    elif field.highest is not None and field.lowest is not None:
        bad = [field.highest + 1, field.lowest - 1]
    for value in good:
        text = str(int(value) if isinstance(value, float) else value)
        async with client.get(path, params={field.name: text}, headers=admin) as response:
            assert response.status == 200, await response.text()
    for value in bad:
        text = str(int(value) if isinstance(value, float) else value)
        async with client.get(path, params={field.name: text}, headers=admin) as response:
            assert f"参数 {field.name} " in await sentence_of(response, 400)


def pattern(sentence: str) -> re.Pattern[str]:
    """Of a sentence in which X stands for a field, N for a number and … for words."""
    text = re.sub(r"\b[MN]\b", r"[\\d,]+", re.escape(sentence))
    return re.compile(re.sub(r"\bX\b", r"\\S+", text).replace("…", ".+"))


async def test_each_sentence_of_a_wrong_field_is_documented_and_answered(
    client: TestClient, admin: Headers
) -> None:
    listed = {pattern(code) for row in table(sections()["通用规则"], "句子").rows for code in codes(row[0])}
    bodies: list[bytes] = [
        b"{}",
        b"[]",
        b"{",
        b"," * 4_000_001,
        b'{"model": 1}',
        b'{"model": ""}',
        b'{"stop": ["%b"]}' % (b"a" * 201),
        b'{"tools": [%b]}' % b",".join([b"{}"] * 129),
        b'{"tool_results": []}',
        b'{"temperature": -1}',
        b'{"message": [{"type": "audio"}]}',
        b'{"model": "a", "message": "\\u0000"}',
        b'{"response_format": {"a": "%b"}}' % (b"a" * 65_536),
    ]
    said = [await refused(client, "POST", "/api/chat", body, admin) for body in bodies]
    found = [[one for one in listed if one.fullmatch(it)] for it in said]
    assert all(len(patterns) == 1 for patterns in found), list(zip(said, found, strict=True))
    assert {patterns[0] for patterns in found} == listed


# statuses


async def test_every_status_of_the_first_table_is_answered(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    """But those that need a provider, a second request or a server in trouble: they are in other tables."""
    said = {
        int(code) for row in tables(sections()["通用规则"])[3].rows for code in re.findall(r"\d+", row[0])
    }
    json_type = {"Content-Type": "application/json"}
    tried: dict[int, Any] = {
        400: client.post("/api/auth/login", data=b"{", headers=json_type),
        401: client.get("/api/stats"),
        403: client.get("/api/users", headers=user),
        404: client.get("/nothing"),
        405: client.delete("/api/models", headers=admin),
        413: client.post("/api/auth/login", data=b" " * 65_537, headers=json_type),
        415: client.post("/api/auth/login", data=b"{}", headers={"Content-Type": "text/plain"}),
        417: client.get("/api/health", headers={"Expect": "a miracle"}),
        421: client.get("/api/health", headers={"Host": "evil.example"}),
    }
    for status, request in tried.items():
        async with request as response:
            await sentence_of(response, status)
            assert (status == 401) == ("WWW-Authenticate" in response.headers)
            assert (status == 405) == ("Allow" in response.headers)
    assert said - set(tried) == {409, 410, 429, 500, 501, 502, 503, 504, 507}


# limits


def limit(name: str) -> str:
    (row,) = [row for row in table(sections()[LIMITS], "项目").rows if row[0] == name]
    return row[1]


async def declared(client: TestClient, line: str, size: int, headers: Headers) -> str:
    """The answer to a request whose head alone comes, and says that the body is so long."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    head = {"Host": "localhost", "Content-Type": "application/json", "Content-Length": str(size), **headers}
    lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    status = int((await reader.readline()).split()[1])
    await reader.readuntil(b"\r\n\r\n")
    said = (await reader.read(1000)).decode()
    writer.close()
    assert status == 413, said
    return said


async def test_bodies_are_as_large_as_is_documented(client: TestClient, admin: Headers) -> None:
    row = limit("请求体")
    sizes = [int(size) for size in numbers(row) if size > 1024]
    shown = re.findall(r"\d+ [KM]iB", row)
    usual, long, v1, strangers = (
        ["POST /api/models"],
        ["POST /api/chat", "PUT /api/messages/1"],
        ["POST /v1/messages"],
        ["POST /api/auth/login"],
    )
    for lines, size, text in zip(
        (usual, [*long, "POST /api/chat/save-partial"], v1, strangers), sizes, shown, strict=True
    ):
        for line in lines:
            said = await declared(client, line, size + 1, {} if lines is strangers else admin)
            assert (f"may have {text} at most" if lines is v1 else f"不能超过 {text}") in said


async def test_the_parts_of_a_chat_are_as_large_as_is_documented(client: TestClient, admin: Headers) -> None:
    async def told(**body: Any) -> str:
        return await refused(client, "POST", "/api/chat", {"model": "nobody", **body}, admin)

    message, system = numbers(limit("消息 / `system_prompt`"))
    assert await told(message="a" * int(message + 1)) == f"字段 message 最多 {message:,.0f} 个字符"
    assert f"{system:,.0f}" in await told(message="a", system_prompt="a" * int(system + 1))
    for name, size in zip(
        ("response_format", "tool_choice"), numbers(limit("`response_format` / `tool_choice`")), strict=True
    ):
        assert (
            await told(message="a", **{name: {"a": "b" * int(size)}})
            == f"字段 {name} 不能超过 {size / 1024:.0f} KiB"
        )
    _, all_tools, _ = numbers(limit("工具 / 工具结果"))
    assert f"{all_tools / 1024:.0f} KiB" in await told(message="a", tools=[{"a": "b" * int(all_tools)}])
    count, size = numbers(limit("图片"))[:2]
    assert f"{count:.0f} 张" in await told(message="a", images=["https://a.b/c"] * int(count + 1))
    assert "未知的模型" in await told(message="a", images=["https://a.b/c"] * int(count))
    url = "data:image/png;base64," + "A" * (int(size) * 4 // 3 + 101)
    assert await told(message="a", images=[url]) == f"字段 images 的图片不能超过 {size / 1024**2:.0f} MiB"


async def test_json_holds_as_many_values_as_is_documented(client: TestClient, admin: Headers) -> None:
    most = int(max(numbers(limit("JSON"))))
    for more, said in ((0, "不是有效的 JSON"), (1, "包含的值过多")):
        assert said in await refused(client, "POST", "/api/chat", b"," * (most + more), admin)


async def test_pages_are_as_long_as_is_documented(client: TestClient, admin: Headers) -> None:
    (row,) = [row for row in table(sections()[LIMITS], "项目").rows if "审计一页" in row[0]]
    paths = {
        "对话列表": "/api/conversations?limit=",
        "账本": "/api/usage?limit=",
        "用户": "/api/users?per_page=",
        "审计": "/api/audit?limit=",
    }
    for name, most in zip(row[0].split(" / "), numbers(row[1]), strict=True):
        if (path := paths.get(name.removesuffix("一页"))) is not None:
            for size, status in ((int(most), 200), (int(most) + 1, 400)):
                async with client.get(f"{path}{size}", headers=admin) as response:
                    assert response.status == status, name


DEFAULTS = {
    "一条回复": ("REPLY_CHARACTERS", "REPLY_SECONDS", "UNFOLLOWED_SECONDS"),
    "提供商无响应": ("IDLE_SECONDS",),
    "流：心跳 / 客户端不读取": ("HEARTBEAT_SECONDS", "WRITE_SECONDS"),
    "关闭时等待回复": ("DRAIN_SECONDS",),
    "并发接收数": ("STREAMS_PER_USER",),
    "同时处理的请求体": ("BODY_BYTES",),
    "登录令牌有效期 / 刷新的最长期限": ("TOKEN_SECONDS", "SESSION_SECONDS"),
}


def test_the_documented_defaults_are_those_of_the_configuration() -> None:
    """Also those that stand in brackets behind a variable."""
    found = {
        f"CHATHUB_{variable}": f"{value:.0f}"
        for name, variables in DEFAULTS.items()
        for variable, value in zip(variables, numbers(limit(name)), strict=False)
    }
    text = documented.DOCUMENT.read_text("utf-8")
    beside = re.findall(r"`(CHATHUB_\w+)`（(?:默认 )?`?([\w,]+)`?(?: (MiB|秒))?）", text)
    assert len({name for name, _, _ in beside}) >= 8
    for name, value, unit in beside:
        value = value.replace(",", "")
        value = f"{number(value) * documented.UNITS[unit]:.0f}" if unit == "MiB" else value
        assert found.setdefault(name, value) == value, name
    for name, value in found.items():
        assert load(argparse.Namespace(), {name: value}) == Config(), f"{name} is not {value}"


# examples


async def test_the_examples_of_lists_have_the_fields_that_are_answered(
    client: TestClient, admin: Headers
) -> None:
    """Of what a fresh server has: the other examples are compared in ``test_documented_chats``."""
    for path, place in (
        ("/api/models", lambda body: body[0]),
        ("/api/providers", lambda body: body["data"][0]),
        ("/api/users", lambda body: body["users"][0]),
        ("/api/auth/sessions", lambda body: body[0]),
        ("/api/auth/registration", lambda body: body),
        ("/api/subscriptions", lambda body: body["data"][0]),
        ("/api/audit", lambda body: body["data"][0]),
        ("/api/stats", lambda body: body),
    ):
        shown = place(examples(endpoints()["GET", path])[0])
        async with client.get(path, headers=admin) as response:
            assert response.status == 200, await response.text()
            assert list(place(await response.json())) == list(shown), path
