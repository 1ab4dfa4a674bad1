"""Errors of providers and API keys."""

SENTENCES = {
    "api_key_characters_invalid": (
        "字段 api_key 含有无效字符",
        "Field api_key has characters that are not valid",
    ),
    "api_key_is_placeholder": (
        "字段 api_key 是占位文字或缩短的密钥，请填写提供商给出的完整密钥",
        "Field api_key is a placeholder or a shortened key, please enter the key that the provider gave you",
    ),
    "api_key_missing": (
        "尚未配置 {provider} 的 API 密钥，请先添加密钥或联系管理员",
        "There is no API key for {provider}, please add one or ask the administrator",
    ),
    "api_key_moved": (
        "{provider} 的地址已变更，请重新输入 API 密钥",
        "The address of {provider} has changed, please enter the API key again",
    ),
    "api_key_not_found": ("API 密钥不存在", "There is no such API key"),
    "api_key_refused": (
        "{provider} 拒绝了您的 API 密钥（{reason}），请更换密钥",
        "{provider} refused your API key ({reason}), please replace it",
    ),
    "api_key_unreadable": (
        "已保存的 {provider} 的 API 密钥无法解密，请重新保存",
        "The stored API key for {provider} cannot be decrypted, please save it again",
    ),
    "api_keys_cooling": (
        "{provider} 的 API 密钥因限流暂停使用，请在 {wait:duration}后重试",
        "The API key for {provider} pauses because of a rate limit, please try again in {wait:duration}",
    ),
    "api_keys_pausing": (
        "{provider} 的 API 密钥暂停使用，请在 {wait:duration}后重试",
        "The API key for {provider} pauses, please try again in {wait:duration}",
    ),
    "api_keys_without_credit": (
        "{provider} 的账户余额不足或额度已用完，请在 {wait:duration}后重试",
        "The account at {provider} has no credit left, please try again in {wait:duration}",
    ),
    "base_url_private": (
        "字段 base_url 不能指向内网地址",
        "Field base_url must not name an address of a private network",
    ),
    "model_has_no_key": (
        "{provider} 的 API 密钥都不能使用模型 {model}",
        "No API key for {provider} may use model {model}",
    ),
    "model_list_missing": (
        "提供商没有返回模型列表：{reason}",
        "The provider gave no list of models: {reason}",
    ),
    "new_address_needs_key": (
        "更换到其他地址需要重新输入 API 密钥",
        "Another address needs the API key again",
    ),
    "provider_disabled_for_keys": (
        "提供商“{provider}”已停用，不能保存 API 密钥",
        "The provider {provider} is disabled, and no API key can be saved for it",
    ),
    "provider_key_reserved": (
        "提供商标识 {provider} 是保留的",
        "The provider key {provider} is reserved",
    ),
    "provider_key_taken": ("提供商标识已存在", "There is a provider with this key already"),
    "provider_not_found": ("提供商不存在", "There is no such provider"),
    "proxy_url_invalid": ("字段 proxy_url {reason}", "Field proxy_url {reason}"),
    "proxy_url_unreadable": (
        "已保存的 {provider} 的代理地址无法解密，请管理员重新填写",
        "The stored proxy of {provider} cannot be decrypted, an administrator must enter it again",
    ),
    "shared_api_key_refused": (
        "{provider} 拒绝了管理员配置的 API 密钥，请联系管理员",
        "{provider} refused the API key of the administrator, please ask the administrator",
    ),
    "unknown_provider": ("提供商 {provider} 不存在", "There is no provider {provider}"),
}
