"""The numbered defects of the older back end (wire contract, section 5), and the tests that guard against
each.

Defect 12 belongs to the front end (it renders what a model writes as HTML); a back end can only limit it, by
the headers of defect 32.
"""

import ast
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, stream
from scripted import Provider, chunk, reply

from chathub.config import Config

TESTS = Path(__file__).parent

# defect → (file, test), unless it is tested below
COVERED = {
    1: ("api/test_auth.py", "test_forged_session_token_gets_401"),
    2: ("test_config.py", "test_development_server_listens_on_loopback_only"),
    3: ("api/test_auth.py", "test_demo_token_is_refused_unless_demo_is_a_plain_active_user"),
    4: ("api/test_access.py", "test_conversation_of_another_user_is_not_found"),
    5: ("api/test_api_keys.py", "test_database_files_do_not_contain_an_api_key"),
    6: ("api/test_api_keys.py", "test_api_key_row_moved_to_another_provider_or_origin_cannot_be_decrypted"),
    7: ("api/test_auth.py", "test_security_change_of_an_account_ends_its_older_sessions_at_once"),
    8: ("api/test_auth.py", "test_production_does_not_start_with_the_development_passwords"),
    9: ("api/test_users.py", "test_password_reset_returns_a_new_password_and_ends_the_old_one"),
    10: ("api/test_auth.py", "test_five_wrong_passwords_delay_that_account_only"),
    11: ("api/test_users.py", "test_administrators_cannot_disable_or_demote_themselves"),
    13: ("api/test_chat.py", "test_earlier_messages_are_sent_to_the_provider"),
    15: ("api/test_chat_failures.py", "test_error_in_mid_stream_keeps_the_text_so_far"),
    16: ("api/test_chat.py", "test_reasoning_is_stored_apart_from_the_content"),
    17: ("api/test_chat_leaving.py", "test_save_partial_stops_the_reply_and_keeps_one_message"),
    18: ("api/test_chat.py", "test_failed_turn_stays_visible_but_is_not_in_the_context"),
    19: ("api/test_chat.py", "test_failed_turn_stays_visible_but_is_not_in_the_context"),
    21: ("api/test_chat.py", "test_unusable_model_is_an_http_status_or_an_error_event"),
    22: ("api/test_chat_failures.py", "test_model_without_streaming_gets_whole_requests"),
    24: ("api/test_chat.py", "test_spent_budget_is_a_429_or_an_error_event"),
    25: ("api/test_auth.py", "test_administrator_sets_every_field_of_a_new_account"),
    26: ("api/test_users.py", "test_page_of_a_thousand_accounts_is_complete"),
    27: ("api/test_providers.py", "test_models_of_a_deleted_provider_cannot_be_used"),
    28: ("api/test_models.py", "test_concurrent_creations_of_one_name_create_one_model"),
    30: ("api/test_api_keys.py", "test_saving_again_replaces_the_api_key_and_activates_it"),
    31: ("api/test_auth.py", "test_verification_code_request_says_that_none_is_required"),
}
BELOW = {14: "decoded", 20: "base_urls", 23: "many_streams", 29: "reading", 32: "headers"}


def names_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_defect_that_a_back_end_can_have_is_tested() -> None:
    assert set(COVERED) | set(BELOW) == set(range(1, 33)) - {12}
    for number, (file, test) in COVERED.items():
        assert test in names_in(file), f"defect {number}: {file} has no {test}"
    own = names_in("test_defects.py")
    for number, word in BELOW.items():
        assert [name for name in own if f"defect_{number}_" in name and word in name]


async def test_defect_14_stream_of_every_provider_is_decoded_the_same(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """Six of twelve providers streamed plain strings where the route wanted objects."""
    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream(reply("一", "样"))
    for row in (await (await client.get("/api/providers", headers=admin)).json())["data"]:
        fields = {"default_base_url": provider.base_url, "protocol": "openai", "needs_key": False}
        assert (await client.put(f"/api/providers/{row['id']}", json=fields, headers=admin)).status == 200
    for model in await (await client.get("/api/models")).json():
        events = await stream(client, admin, model=model["model_name"])
        assert [event["content"] for event in events[1:-1]] in (["一", "样"], ["一样"]), model["model_name"]


@pytest.mark.parametrize("base", ["", "/v1", "/v1/", "/v1/chat/completions", "/v1/chat/completions/"])
async def test_defect_20_all_spellings_of_base_urls_are_joined_correctly(
    client: TestClient, admin: Headers, provider: Provider, base: str
) -> None:
    await add_model(client, admin, provider.base_url.removesuffix("/v1") + base)
    assert (await stream(client, admin))[-1]["type"] == "end"
    assert provider.last["_path"] == "/v1/chat/completions"


async def test_defect_23_many_streams_block_no_other_request(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    """Sixteen open streams starved a pool of fifteen database connections."""
    import asyncio

    await add_model(client, admin, provider.base_url)
    provider.script = provider.stream([chunk("前"), *reply("后")], stall_after=1)
    running = [asyncio.create_task(stream(client, admin)) for _ in range(40)]
    async with asyncio.timeout(30):
        while len(provider.bodies) < 40:
            await asyncio.sleep(0.02)
        assert (await client.get("/api/conversations", headers=admin)).status == 200
        assert (await client.post("/api/models/1/toggle", headers=admin)).status == 200
        provider.gate.set()
        assert {events[-1]["type"] for events in await asyncio.gather(*running)} == {"end"}


async def test_defect_29_reading_writes_nothing_and_unknown_conversations_get_404(
    client: TestClient, admin: Headers, provider: Provider, config: Config
) -> None:
    await add_model(client, admin, provider.base_url)
    await stream(client, admin, conversation_id="c")
    wal = Path(f"{config.database}-wal")
    before = wal.read_bytes()
    assert (await client.get("/api/conversations/c/messages", headers=admin)).status == 200
    assert wal.read_bytes() == before
    assert (await client.get("/api/conversations/none/messages", headers=admin)).status == 404
    assert (await client.delete("/api/conversations/none", headers=admin)).status == 404


async def test_defect_32_security_headers_are_on_every_response(
    client: TestClient, admin: Headers, provider: Provider
) -> None:
    await add_model(client, admin, provider.base_url)
    body = {"message": "hi", "model": "test-model"}
    for method, path, options in [
        ("GET", "/api/health", {}),
        ("GET", "/nowhere", {}),
        ("GET", "/api/users", {}),
        ("POST", "/api/chat/stream", {"json": body, "headers": admin | {"X-Request-ID": "mine-1"}}),
    ]:
        response = await client.request(method, path, **options)
        await response.read()
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in response.headers
        assert response.headers["X-Request-ID"]
    assert response.headers["X-Request-ID"] == "mine-1"
