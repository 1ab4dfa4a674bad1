"""Estimates of a prompt's tokens: about, and at most, beside what a published tokenizer counts."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from texts_to_count import (
    CHINESE,
    CODE,
    ENGLISH,
    FRENCH,
    JAPANESE,
    KINDS,
    KOREAN,
    TRADITIONAL,
    text_of,
)
from tokenizer import count_tokens

from chathub.formats.anthropic.client import AnthropicClient
from chathub.formats.client_format import most_counts
from chathub.formats.estimates import expected, longest
from chathub.formats.messages import Audio, File, Image, Message, NativeBlock, TextPart, Thought, ToolCall
from chathub.formats.openai.client import OpenAIClient
from chathub.formats.openai.decode_embeddings import only_token_ids
from chathub.formats.prompt_counts import PromptCounts, counts_of_body, counts_of_messages, counts_of_prompt
from chathub.formats.text_counts import counts_of_json, counts_of_text


def most(text: str) -> int:
    return longest(PromptCounts(counts_of_text(text)))


def about(text: str) -> int:
    return expected(PromptCounts(counts_of_text(text)))


# --- at most


@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_text_is_more_than_1_3_times_its_bound(kind: str) -> None:
    chance = random.Random(kind)
    for size in (50, 500, 4000):
        text = text_of(kind, size, chance)
        assert count_tokens(text) <= 1.3 * most(text) + 2


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("the cat sat on the mat, and " * 10, 70),
        ("中文" * 50, 150),
        ("ひらがな" * 25, 150),
        ("한국어" * 30, 135),
        ("𓀀" * 10, 40),
        ("㐀" * 10, 30),
        ("я" * 10, 20),
        ("\ue000" * 10, 30),
        ("é" * 10, 15),
    ],
)
def test_bound_follows_the_script(text: str, tokens: int) -> None:
    assert most(text) == tokens


@pytest.mark.parametrize("text", [ENGLISH * 5, CODE * 3], ids=["english", "code"])
def test_english_and_code_are_a_quarter_token_a_character_at_most_and_about(text: str) -> None:
    assert most(text) == pytest.approx(len(text) / 4, rel=0.15)
    assert about(text) == pytest.approx(len(text) / 4, rel=0.3)


def test_image_by_address_counts_1500_in_every_format() -> None:
    url = {"url": "https://images.example/a.png"}
    openai = {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": url}] * 20}],
    }
    block = {"type": "image", "source": {"type": "url"} | url}
    anthropic = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [block] * 20}]}
    for client_format in (
        OpenAIClient(json.dumps(openai).encode()),
        AnthropicClient(json.dumps(anthropic).encode()),
    ):
        assert 30_000 <= longest(most_counts(client_format)) < 30_100


def test_hidden_names_of_images_are_found() -> None:
    part = '{"type":"\\u0069mage_url","\\u0069mage_url":{"url":"https://images.example/a.png"}}'
    parts = ",".join([part] * 20)
    body = f'{{"model":"m","messages":[{{"role":"user","content":[{parts}]}}]}}'
    assert longest(most_counts(OpenAIClient(body.encode()))) >= 30_000


def test_body_that_cannot_be_decoded_counts_its_images_and_all_its_text() -> None:
    strange = {
        "role": "nobody",
        "content": [{"type": "image_url", "image_url": {"url": "https://x.example"}}] * 20,
    }
    client_format = OpenAIClient(json.dumps({"model": "m", "messages": [strange]}).encode())
    assert longest(most_counts(client_format)) >= 30_000


@pytest.mark.parametrize("field", ["prediction", "documents", "functions", "chat_template_kwargs"])
def test_fields_beside_the_messages_count_also_where_there_are_images(field: str) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://images.example/a.png"}}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}], field: [{"text": ENGLISH * 20}]}
    assert longest(most_counts(OpenAIClient(json.dumps(body).encode()))) >= 1500 + most(ENGLISH * 20)


def test_text_document_counts_as_its_text() -> None:
    file = File("text/plain", ENGLISH.encode() * 10)
    counts = counts_of_messages([Message("user", [file])])
    assert longest(counts) >= most(ENGLISH * 10)


@pytest.mark.parametrize(
    ("part", "least"),
    [
        (Image(url="https://images.example/a.png"), 1500),
        (File("application/pdf", url="https://images.example/a.pdf"), 15_000),
        (File("application/pdf", b"%PDF /Type /Page /Type/Page /Type /Pages"), 6000),
        (Audio("audio/mpeg", bytes(400_000)), 10_000),
        (ToolCall("1", "search", json.dumps({"query": ENGLISH})), 70),
        (Thought("hm", {"anthropic": {"signature": "x" * 4000}}), 1000),
        (NativeBlock("openai", {"type": "video_url", "video_url": {"url": "https://x.example"}}), 15_000),
        (NativeBlock("anthropic", {"type": "web_search_tool_result", "content": [ENGLISH]}), 70),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parts_have_bounds(part: Image | File | Audio | ToolCall | Thought | NativeBlock, least: int) -> None:
    counts = counts_of_messages([Message("user", [TextPart("x"), part])])
    assert longest(counts) >= least and longest(counts) >= expected(counts) * 0.8


def test_tools_and_response_format_count() -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": ENGLISH, "parameters": {}}}]
    shape = {"type": "json_schema", "json_schema": {"schema": {"description": ENGLISH}}}
    plain, full = (counts_of_prompt([Message("user", "hi")], *more) for more in ([[]], [tools, shape]))
    assert longest(full) >= longest(plain) + 2 * most(ENGLISH)
    assert not full.is_added_to and counts_of_prompt([], [{"type": "web_search_20250305"}]).is_added_to


def test_signatures_of_thinking_in_a_body_count_a_quarter_token_a_character() -> None:
    block = {"type": "thinking", "thinking": "hm", "signature": text_of("base64", 8000, random.Random(1))}
    body = json.dumps({"messages": [{"role": "assistant", "content": [block]}]}).encode()
    counts = counts_of_body(body)
    assert counts is not None and longest(counts) == pytest.approx(2000, rel=0.05)


def test_token_ids_of_embeddings_count_as_one_token_each() -> None:
    def ids(value: object) -> int | None:
        return only_token_ids(Raw(json.dumps(value).encode()))

    assert [ids([1, 22, 333]), ids([[1, 2], [3]]), ids("1, 2"), ids(["1"])] == [3, 3, None, None]


# --- about


@pytest.mark.parametrize(
    "text",
    [ENGLISH, CODE, CHINESE, TRADITIONAL, JAPANESE, KOREAN, FRENCH],
    ids=lambda text: text[:6],
)
def test_estimate_is_near_the_count_of_a_published_tokenizer(text: str) -> None:
    assert about(text) == pytest.approx(count_tokens(text), rel=0.35)


# --- counting


@given(st.text())
def test_escaped_json_counts_like_its_text(text: str) -> None:
    escaped, plain = (
        json.dumps(text, ensure_ascii=ascii).encode("utf-8", "surrogatepass") for ascii in (True, False)
    )
    assert counts_of_json(escaped)[6:] == counts_of_text(text)[6:]
    assert most(text) >= 0 and (about(text) > 0) == (text != "")
    assert counts_of_json(plain)[6] >= counts_of_text(text)[6]


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, "a𓀀é \n"])
def test_long_texts_are_counted_like_short_ones(text: str) -> None:
    """They are counted in pieces."""
    one, many = counts_of_text(text), counts_of_text(text * 2000)
    assert many == pytest.approx([count * 2000 for count in one], abs=20)
