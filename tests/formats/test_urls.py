"""Base URLs as users write them, and the origin that an API key is bound to."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chathub.formats.urls import chat_url, hostname, models_url, origin


@pytest.mark.parametrize(
    ("base", "chat"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
        (" https://api.openai.com \n", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1/chat/completions"),
        ("https://api.openai.com/v1/chat/completions//", "https://api.openai.com/v1/chat/completions"),
        ("https://api.siliconflow.cn/v1#x", "https://api.siliconflow.cn/v1/chat/completions"),
        ("https://api.deepseek.com/beta", "https://api.deepseek.com/beta/chat/completions"),
        ("https://relay.example/openai/v1?a=b", "https://relay.example/openai/v1/chat/completions?a=b"),
        ("https://relay.example?a=b", "https://relay.example/v1/chat/completions?a=b"),
        ("http://localhost:11434", "http://localhost:11434/v1/chat/completions"),
        ("http://[::1]:8080", "http://[::1]:8080/v1/chat/completions"),
        ("https://api.perplexity.ai", "https://api.perplexity.ai/chat/completions"),
        ("https://open.bigmodel.cn", "https://open.bigmodel.cn/api/paas/v4/chat/completions"),
        ("https://API.Z.AI/", "https://API.Z.AI/api/paas/v4/chat/completions"),
        (
            "https://open.bigmodel.cn/api/coding/paas/v4",
            "https://open.bigmodel.cn/api/coding/paas/v4/chat/completions",
        ),
        ("https://ark.cn-beijing.volces.com", "https://ark.cn-beijing.volces.com/api/v3/chat/completions"),
        (
            "https://ark.cn-beijing.volces.com/api/v3",
            "https://ark.cn-beijing.volces.com/api/v3/chat/completions",
        ),
        ("https://qianfan.baidubce.com", "https://qianfan.baidubce.com/v2/chat/completions"),
        (
            "https://dashscope.aliyuncs.com",
            "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions",
        ),
        ("https://openrouter.ai", "https://openrouter.ai/api/v1/chat/completions"),
        ("https://api.groq.com", "https://api.groq.com/openai/v1/chat/completions"),
        (
            "https://generativelanguage.googleapis.com",
            "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
        ),
        (
            "https://res.openai.azure.com/openai/deployments/gpt/?api-version=2024-10-21",
            "https://res.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
        ),
    ],
)
def test_chat_url_is_derived_from_the_base_url(base: str, chat: str) -> None:
    assert chat_url(base) == chat
    assert chat_url(chat) == chat


@pytest.mark.parametrize(
    ("base", "models"),
    [
        ("https://api.openai.com/v1/chat/completions", "https://api.openai.com/v1/models"),
        ("https://api.openai.com", "https://api.openai.com/v1/models"),
        ("https://open.bigmodel.cn/api/paas/v4/", "https://open.bigmodel.cn/api/paas/v4/models"),
        ("https://api.perplexity.ai", "https://api.perplexity.ai/models"),
        (
            "https://res.openai.azure.com/openai/deployments/gpt?api-version=1",
            "https://res.openai.azure.com/openai/models?api-version=1",
        ),
    ],
)
def test_models_url_is_derived_from_the_base_url(base: str, models: str) -> None:
    assert models_url(base) == models


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://API.OpenAI.com/v1", "https://api.openai.com:443"),
        ("HTTPS://api.openai.com:443", "https://api.openai.com:443"),
        ("https://api.openai.com.", "https://api.openai.com:443"),
        ("http://localhost", "http://localhost:80"),
        ("http://ollama_server:11434/v1", "http://ollama_server:11434"),
        ("http://[2001:DB8:0:0:0:0:0:1]:80/", "http://[2001:db8::1]:80"),
        ("https://MÜNCHEN.中国/v1", "https://xn--mnchen-3ya.xn--fiqs8s:443"),
        ("https://XN--MNCHEN-3YA.xn--fiqs8s", "https://xn--mnchen-3ya.xn--fiqs8s:443"),
        ("https://api。openai。com", "https://api.openai.com:443"),
    ],
)
def test_every_spelling_of_a_server_has_the_same_origin(url: str, expected: str) -> None:
    assert origin(url) == expected
    assert origin(expected) == expected


def test_chat_url_has_the_host_of_its_origin() -> None:
    assert (
        chat_url("https://münchen.中国:8443/v1")
        == "https://xn--mnchen-3ya.xn--fiqs8s:8443/v1/chat/completions"
    )


@pytest.mark.parametrize(
    "url",
    [
        "", "api.openai.com/v1", "localhost:8080", "ftp://host/", "file:///etc/passwd", "javascript:alert(1)",
        "https://", "https:///v1", "https://:443", "https://?x", "http://user@host/", "http://user:word@host/",
        "http://@host", "https://good.example\\@evil.example", "https://ho st/", "https://host/a b", "https://host/\tv1",
        "https://ho\nst", "https://host\x00", "https://host/\u3000v1", "https://host:0", "https://host:70000",
        "https://host:x", "https://[::1", "https://[nonsense]", "https://a..b", "https://-a.com", "https://a%2eb",
        "https://ho\u2100st", "https://" + "a" * 64 + ".例", "https://" + "a." * 130 + "com",
    ],
)  # fmt: skip
def test_invalid_url_raises_value_error(url: str) -> None:
    for function in (origin, chat_url, models_url, hostname):
        with pytest.raises(ValueError):
            function(url)


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("htps:/@.[]aZ09%?#\\é。中 -_\t"), max_size=20))
def test_random_text_has_an_origin_or_raises_value_error(text: str) -> None:
    try:
        found = origin("http://" + text)
    except ValueError:
        return
    assert found.isascii() and found == origin(found) and found.startswith("http://")
