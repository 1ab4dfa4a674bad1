"""The codes of the failure table: what a failure of a provider means.

A failed reply has one of these codes. Its sentence is the provider's own, one of ``details.py``, or, where it
is about an API key of another user, the one that stands here.
"""

SENTENCES = {
    "content_filter": (
        "请求被 {provider} 的内容审查拦截",
        "The content filter of {provider} blocked the request",
    ),
    "model_retired": ("{provider} 已下线此模型", "{provider} no longer has this model"),
    "model_unavailable": (
        "所用的 API 密钥在 {provider} 不能使用此模型",
        "The API key may not use this model at {provider}",
    ),
    "upstream_account_limited": (
        "{provider} 要求此账户降低请求频率",
        "{provider} limits the rate of requests of the account",
    ),
    "upstream_blank": (
        "模型返回了空的回复，请重试",
        "The reply of the model is empty, please try again",
    ),
    "upstream_blocked": (
        "{provider} 的防火墙拒绝了请求，或接口地址不正确",
        "A firewall before {provider} refused the request, or the base URL is wrong",
    ),
    "upstream_cut": (
        "与 {provider} 的连接中断，回复不完整",
        "The connection to {provider} broke off, and the reply is incomplete",
    ),
    "upstream_denied": ("{provider} 拒绝了此请求的访问", "{provider} denied access to this request"),
    "upstream_empty": ("{provider} 没有返回任何数据", "{provider} returned no data"),
    "upstream_failed": ("{provider} 出错，请稍后重试", "{provider} failed, please try again later"),
    "upstream_invalid_key": (
        "{provider} 拒绝了所用的 API 密钥",
        "{provider} refused the API key",
    ),
    "upstream_model_quota": (
        "所用的 API 密钥在 {provider} 对此模型的额度已用完",
        "The quota of the API key for this model is used up at {provider}",
    ),
    "upstream_no_credit": (
        "{provider} 账户余额不足或额度已用完",
        "The account at {provider} has no credit left, or its quota is used up",
    ),
    "upstream_no_response": (
        "{provider} 在 {seconds:duration}内没有响应",
        "{provider} did not respond within {seconds:duration}",
    ),
    "upstream_overloaded": (
        "{provider} 过载，请稍后重试",
        "{provider} is overloaded, please try again later",
    ),
    "upstream_rate_limited": (
        "{provider} 要求降低请求频率",
        "{provider} limits the rate of requests",
    ),
    "upstream_refused": ("{provider} 拒绝了请求", "{provider} refused the request"),
    "upstream_timeout": ("{provider} 没有及时响应", "{provider} did not respond in time"),
    "upstream_unreachable": (
        "无法连接到 {provider}{at:if_any}{hint:if_any}",
        "{provider}{at:if_any} cannot be reached{hint:if_any}",
    ),
}
