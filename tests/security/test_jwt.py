"""Forged or altered session tokens, and tokens in unusual places. The simplest cases are in
api/test_auth.py.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
import world
from aiohttp.test_utils import TestClient
from chats import Headers
from conftest import sign_in

from chathub.config import Config
from chathub.security.vault import derive

pytestmark = pytest.mark.shared

PLAIN = {"alg": "HS256", "typ": "JWT"}
# as long as a session token may be, and no shorter than one that ChatHub issues
DEEP = "[" * 600 + "]" * 600


def encoded(data: bytes | str) -> str:
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else data.encode()).rstrip(b"=").decode()


def signed(key: bytes, head: str, payload: str, digest: str = "sha256") -> str:
    """A token with any header and payload, correctly signed."""
    text = f"{encoded(head)}.{encoded(payload)}"
    return f"{text}.{encoded(hmac.digest(key, text.encode(), digest))}"


@pytest.fixture
def key(config: Config) -> bytes:
    """The server's signing key: attacks that use it show that the other checks work too."""
    assert config.secret_key is not None
    return derive(config.secret_key, "chathub token v1")


Claims = Callable[..., dict[str, Any]]


@pytest.fixture
def claims(user: Headers) -> Claims:
    """The claims of a real session, with some changed: ``...`` removes one."""
    real = json.loads(base64.b64decode(user["Authorization"].split(".")[1] + "=="))

    def changed(**changes: Any) -> dict[str, Any]:
        return {name: value for name, value in {**real, **changes}.items() if value is not ...}

    return changed


async def status(client: TestClient, token: str, scheme: str = "Bearer ") -> int:
    """The status of a request with a token; a refusal has the documented error body."""
    response = await client.get("/api/auth/verify", headers={"Authorization": scheme + token})
    if response.status != 200:
        await world.refusal(response)
    return response.status


async def test_session_token_signed_by_these_tests_is_accepted(
    client: TestClient, claims: Claims, key: bytes
) -> None:
    assert await status(client, signed(key, json.dumps(PLAIN), json.dumps(claims()))) == 200


async def test_session_token_longer_than_2048_characters_is_refused(
    client: TestClient, claims: Claims, key: bytes
) -> None:
    """Otherwise a header full of JSON would be parsed for any client; this one is signed, to reach that
    check.
    """
    head = json.dumps(PLAIN)
    without = len(signed(key, head, json.dumps(claims(pad=""))))
    tokens = [
        signed(key, head, json.dumps(claims(pad="x" * ((2048 - without) * 3 // 4 + more)))) for more in (0, 3)
    ]
    assert len(tokens[0]) <= 2048 < len(tokens[1])
    assert [await status(client, token) for token in tokens] == [200, 401]


@pytest.mark.parametrize(
    "name", ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS256", "ES256", "EdDSA"]
)
async def test_only_hs256_is_accepted_whatever_the_header_says(
    client: TestClient, claims: Claims, key: bytes, name: str
) -> None:
    head, payload = json.dumps({"alg": name, "typ": "JWT"}), json.dumps(claims())
    unsigned = f"{encoded(head)}.{encoded(payload)}."
    tokens = [unsigned, unsigned[:-1], signed(key, head, payload), signed(b"", head, payload)]
    tokens += [signed(key, head, payload, digest) for digest in ("sha384", "sha512")]
    for token in tokens:
        assert await status(client, token) == 401


@pytest.mark.parametrize(
    "head",
    [
        '{"typ":"JWT"}',
        '{"alg":null}',
        '{"alg":["HS256"]}',
        '{"alg":{"HS256":1}}',
        '{"alg":256}',
        '{"alg":"HS256","crit":["exp"]}',
        '{"alg":"HS256","crit":["b64"],"b64":false}',
        '{"alg":"HS256","b64":false}',
        "[]",
        "null",
        '"HS256"',
        "{",
        "",
        '{"alg":"none","alg":"HS256"',
    ],
)
async def test_invalid_token_header_or_critical_extension_is_refused(
    client: TestClient, claims: Claims, key: bytes, head: str
) -> None:
    assert await status(client, signed(key, head, json.dumps(claims()))) == 401


@pytest.mark.parametrize(
    "more",
    [
        {"kid": "../../../../dev/null"},
        {"kid": "' UNION SELECT 'x' --"},
        {"jku": "http://127.0.0.1:9/keys"},
        {"x5u": "http://127.0.0.1:9/keys"},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"x5c": ["AAAA"]},
    ],
)
async def test_token_header_cannot_choose_the_signing_key(
    client: TestClient, claims: Claims, key: bytes, more: dict[str, Any]
) -> None:
    """The empty key and the key in the header are those that the header names."""
    head = json.dumps({**PLAIN, **more})
    for other in (b"", b"\0\0\0", b"x", b"AAAA"):
        assert await status(client, signed(other, head, json.dumps(claims()))) == 401


@pytest.mark.parametrize(
    "change",
    [
        *(
            {"sub": value}
            for value in (..., None, "", "1 OR 1", "2; --", "2.0", "0x2", "-2", "²", [2], {"a": 2})
        ),
        *({"sub": value} for value in (2, 2.0, True, 2**63, str(2**64), "9" * 400)),
        *({"ver": value} for value in (..., None, "x", "1 OR 1", [1], {}, 0, 2, -1, 2**64, 1e300)),
        *({"exp": value} for value in (..., None, "9999999999", 1e300, [2**33], True, 0, -1, 1_600_000_001)),
        *({"jti": value} for value in (..., None)),
        *({"nbf": value} for value in (2**33, "x", [1])),
        *({"aud": value} for value in ("someone", ["else"])),
    ],
    ids=repr,
)
async def test_signed_claims_of_the_wrong_type_are_refused(
    client: TestClient, claims: Claims, key: bytes, change: dict[str, Any]
) -> None:
    assert await status(client, signed(key, json.dumps(PLAIN), json.dumps(claims(**change)))) == 401


@pytest.mark.parametrize(
    "payload", ["", "{", "[]", "null", '"a"', "5", "{}", "\xff", DEEP, f'{{"sub":{DEEP}}}']
)
async def test_payload_that_is_not_an_object_of_claims_is_refused(
    client: TestClient, key: bytes, payload: str
) -> None:
    assert await status(client, signed(key, json.dumps(PLAIN), payload)) == 401


async def test_duplicate_claims_give_no_additional_rights(
    client: TestClient, claims: Claims, key: bytes, user: Headers
) -> None:
    """Whichever of the two a parser takes, the database row decides on version and role."""
    whole = json.dumps(claims())[:-1]
    assert await status(client, signed(key, json.dumps(PLAIN), whole + ',"ver":2}')) == 401
    assert await status(client, signed(key, json.dumps(PLAIN), whole + ',"sub":"99"}')) == 401
    token = signed(key, json.dumps(PLAIN), whole + ',"role":"admin"}')
    response = await client.get("/api/users", headers={"Authorization": f"Bearer {token}"})
    assert (await world.refusal(response))[0] == 403


async def test_altered_or_mixed_session_tokens_are_refused(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    """Parts of two valid tokens do not make a third, and no claim can be changed."""
    theirs, mine = (headers["Authorization"].removeprefix("Bearer ").split(".") for headers in (admin, user))
    mixed = [
        (theirs[0], theirs[1], mine[2]),
        (mine[0], theirs[1], mine[2]),
        (mine[0], mine[1], theirs[2]),
        (mine[0], theirs[1], theirs[2][:-1]),
        (mine[0], theirs[1], ""),
    ]
    payload = json.loads(base64.b64decode(mine[1] + "=="))
    for change in ({"sub": "1"}, {"ver": 2}, {"role": "admin"}, {"exp": 2**40}, {"jti": "0" * 32}):
        mixed.append((mine[0], encoded(json.dumps({**payload, **change})), mine[2]))
    for parts in mixed:
        assert await status(client, ".".join(parts)) == 401
    assert await status(client, ".".join(mine)) == await status(client, ".".join(theirs)) == 200


async def test_keys_derived_for_other_purposes_do_not_sign_session_tokens(
    client: TestClient, claims: Claims, config: Config
) -> None:
    """The master secret itself, the key derived from it for the vault, and other keys that could leak."""
    assert config.secret_key is not None
    master = config.secret_key
    others = [
        master,
        derive(master, "chathub vault v1"),
        derive(master, ""),
        hashlib.sha256(master).digest(),
        b"",
        b"secret",
    ]
    for other in others:
        assert await status(client, signed(other, json.dumps(PLAIN), json.dumps(claims()))) == 401


@pytest.mark.parametrize(
    "header",
    [
        "Bearer {0}.",
        "Bearer .{0}",
        "Bearer {0} {0}",
        "Bearer {0},",
        'Bearer "{0}"',
        "Bearer={0}",
        "Bearer:{0}",
    ]
    + ["Bearer,{0}", "{0}", "Token {0}", "Basic {0}", "Bearer\t{0}", "BearerBearer {0}", "Bearer Bearer {0}"]
    + ["Bearer {0}==", "Bearer \u200b{0}", "Bеarer {0}"],
)
async def test_malformed_authorization_scheme_is_refused(
    client: TestClient, user: Headers, header: str
) -> None:
    token = user["Authorization"].removeprefix("Bearer ")
    response = await client.get("/api/auth/verify", headers={"Authorization": header.format(token)})
    await world.refusal(response)
    assert response.status == 401


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR   "])
async def test_authorization_scheme_ignores_case(client: TestClient, user: Headers, scheme: str) -> None:
    assert await status(client, user["Authorization"].removeprefix("Bearer "), scheme) == 200


async def test_one_of_several_authorization_headers_decides(
    client: TestClient, admin: Headers, user: Headers
) -> None:
    """Otherwise a proxy that reads one of them and a server that reads another would disagree."""
    good, bad = user["Authorization"], "Bearer nothing"
    for first, second in ((good, bad), (bad, good), (good, admin["Authorization"])):
        response = await client.get(
            "/api/auth/verify", headers=[("Authorization", first), ("Authorization", second)]
        )
        if first == bad:
            assert (await world.refusal(response))[0] == 401
        else:
            assert (await response.json())["user"]["username"] == "user"


async def test_session_token_outside_the_authorization_header_is_ignored(
    client: TestClient, user: Headers
) -> None:
    token = user["Authorization"].removeprefix("Bearer ")
    for options in (
        {"params": {"token": token, "access_token": token, "Authorization": f"Bearer {token}"}},
        {"headers": {"Cookie": f"token={token}; Authorization=Bearer {token}"}},
        {"headers": {"X-Authorization": f"Bearer {token}", "Proxy-Authorization": f"Bearer {token}"}},
        # this header is for access tokens on /v1 only
        {"headers": {"x-api-key": token}},
    ):
        response = await client.get("/api/auth/verify", **options)  # type: ignore[arg-type]
        assert (await world.refusal(response))[0] == 401


async def test_role_in_the_session_token_gives_no_rights(
    client: TestClient, claims: Claims, key: bytes, admin: Headers
) -> None:
    """The role is for the page; the server reads the row of the user."""
    token = signed(key, json.dumps(PLAIN), json.dumps(claims(role="admin")))
    response = await client.get("/api/users", headers={"Authorization": f"Bearer {token}"})
    assert (await world.refusal(response))[0] == 403
    payload = json.loads(base64.b64decode(admin["Authorization"].split(".")[1] + "=="))
    token = signed(key, json.dumps(PLAIN), json.dumps({**payload, "role": "user"}))
    response = await client.get("/api/users", headers={"Authorization": f"Bearer {token}"})
    assert response.status == 200


async def test_altered_session_token_is_not_found_in_the_cache(client: TestClient, key: bytes) -> None:
    """The cache of verified tokens compares the whole text."""
    headers = await sign_in(client, "user", "user123")
    token = headers["Authorization"].removeprefix("Bearer ")
    assert await status(client, token) == 200
    for other in (token + "A", token[:-1], token.swapcase(), f"{token}%00", f" {token}x", token + "\x85x"):
        assert await status(client, other) == 401
