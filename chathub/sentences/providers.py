"""Sentences about failures of providers, by the codes of the failure table."""

SENTENCES: dict[str, tuple[str, str]] = {
    "upstream_invalid_key": (
        "提供商拒绝了所用的 API 密钥",
        "The provider refused the API key.",
    ),
    "upstream_no_credit": (
        "提供商账户余额不足或额度已用完",
        "The provider's account has no credit left, or its quota is used up.",
    ),
    "upstream_model_quota": (
        "所用的 API 密钥在提供商处对此模型的额度已用完",
        "The API key's quota for this model is used up at the provider.",
    ),
    "upstream_rate_limited": (
        "提供商要求降低请求频率",
        "The provider limits the rate of requests.",
    ),
    "upstream_account_limited": (
        "提供商要求此账户降低请求频率",
        "The provider limits the account's rate of requests.",
    ),
    "model_unavailable": (
        "所用的 API 密钥在提供商处不能使用此模型",
        "The API key may not use this model at the provider.",
    ),
    "model_retired": (
        "提供商已下线此模型",
        "The provider no longer has this model.",
    ),
    "keys_cooling": (
        "{provider} 的API密钥正在冷却，请稍后再试",
        "All API keys of {provider} are cooling down. Try again later.",
    ),
    "keys_cooling_because": (
        "{provider} 的API密钥正在冷却（{reason}），请稍后再试",
        "All API keys of {provider} are cooling down ({reason}) Try again later.",
    ),
    "model_has_no_key": (
        "{provider} 的API密钥都不能使用模型 {model}：{reason}",
        "No API key of {provider} can use the model {model}: {reason}",
    ),
}
