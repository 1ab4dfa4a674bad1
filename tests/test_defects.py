"""The numbered defects of the older back end (wire contract, section 5), and the tests that keep each out.

12 is the front end's own (it renders what a model writes as HTML); a back end can only limit it, by the
headers of 32.
"""

import ast
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient
from chats import Headers, add_model, stream
from scripted import Provider, chunk, reply

from chathub.config import Config

TESTS = Path(__file__).parent

# defect → (file, test), where it is not tested below
COVERED = {
    1: ("api/test_auth.py", "test_a_forged_token_is_refused"),
    2: ("test_config.py", "test_development_serves_no_other_machine"),
    3: ("api/test_auth.py", "test_demo_token_is_nobody_once_demo_is_no_plain_active_user"),
    4: ("api/test_access.py", "test_a_conversation_of_someone_else_is_not_found"),
    5: ("api/test_apikeys.py", "test_the_database_files_never_hold_a_key"),
    6: ("api/test_apikeys.py", "test_a_row_moved_to_another_provider_or_address_does_not_open"),
    7: ("api/test_auth.py", "test_what_changes_an_accounts_safety_ends_its_older_tokens_at_once"),
    8: ("api/test_auth.py", "test_production_does_not_start_on_the_passwords_of_development"),
    9: ("api/test_users.py", "test_a_reset_answers_a_new_password_that_works_and_ends_the_old_one"),
    10: ("api/test_auth.py", "test_after_five_wrong_passwords_the_account_waits_and_others_do_not"),
    11: ("api/test_users.py", "test_an_administrator_cannot_disable_or_demote_itself"),
    13: ("api/test_chat.py", "test_earlier_messages_go_upstream"),
    15: ("api/test_chat_failures.py", "test_a_failure_in_mid_stream_keeps_what_had_come"),
    16: ("api/test_chat.py", "test_reasoning_is_kept_apart"),
    17: ("api/test_chat_leaving.py", "test_save_partial_stops_and_keeps_one_message"),
    18: ("api/test_chat.py", "test_a_failed_turn_stays_visible_but_leaves_the_context"),
    19: ("api/test_chat.py", "test_a_failed_turn_stays_visible_but_leaves_the_context"),
    21: ("api/test_chat.py", "test_a_model_that_cannot_answer_is_a_status_or_an_event"),
    22: ("api/test_chat_failures.py", "test_a_model_without_streaming_is_asked_for_whole_answers"),
    24: ("api/test_chat.py", "test_a_spent_budget_is_a_429_or_an_event"),
    25: ("api/test_auth.py", "test_an_administrator_decides_everything_about_a_new_account"),
    26: ("api/test_users.py", "test_a_page_of_a_thousand_is_given_whole"),
    27: ("api/test_providers.py", "test_the_models_of_a_deleted_provider_cannot_be_chatted_with"),
    28: ("api/test_models.py", "test_two_creations_of_one_name_at_once_make_one_model"),
    30: ("api/test_apikeys.py", "test_saving_again_replaces_the_key_and_switches_it_on"),
    31: ("api/test_auth.py", "test_a_verification_code_is_answered_as_not_needed"),
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


async def test_defect_14_every_providers_stream_is_decoded_the_same(
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
async def test_defect_20_all_spellings_of_base_urls_are_joined_right(
    client: TestClient, admin: Headers, provider: Provider, base: str
) -> None:
    await add_model(client, admin, provider.base_url.removesuffix("/v1") + base)
    assert (await stream(client, admin))[-1]["type"] == "end"
    assert provider.last["_path"] == "/v1/chat/completions"


async def test_defect_23_many_streams_hold_nothing_that_others_need(
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


async def test_defect_29_reading_writes_nothing_and_unknown_conversations_are_404(
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


async def test_defect_32_headers_of_safety_are_on_every_answer(
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
