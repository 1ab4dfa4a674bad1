"""Well-known names of models: the provider that serves one which is not in the table."""

# beginnings of names, and the provider's slug
_PREFIXES = (
    (("gpt-", "chatgpt-", "o1", "o3", "o4"), "openai"),
    (("claude-",), "anthropic"),
    (("gemini-",), "google"),
    (("deepseek-",), "deepseek"),
    (("qwen", "qwq-"), "alibaba"),
    (("glm-",), "zhipu"),
    (("moonshot-", "kimi-"), "moonshot"),
    (("doubao-",), "doubao"),
    (("ernie-",), "baidu"),
)


def provider_of(name: str) -> str:
    """The slug of the provider that serves a model of that name; empty for none."""
    # a name with a slash belongs to a reseller ("Qwen/…"), never to the family's own provider
    if "/" in name:
        return ""
    lower = name.lower()
    return next((slug for prefixes, slug in _PREFIXES if lower.startswith(prefixes)), "")
