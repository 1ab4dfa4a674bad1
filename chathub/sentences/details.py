"""What exactly went wrong at a provider or on the way there; on the wire it has a code of ``upstream.py``."""

SENTENCES = {
    "address_no_image": (
        "{address} 不是 PNG、JPEG、GIF 或 WebP 图片",
        "{address} is no PNG, JPEG, GIF or WebP image",
    ),
    "address_too_large": ("{address} 超过 {most:bytes}", "{address} is larger than {most:bytes}"),
    "address_unfetched": ("无法下载 {address}", "{address} cannot be fetched"),
    "addresses_busy": (
        "服务器正在下载的图片和文件过多，请稍后重试",
        "The server is fetching too many images and files, please try again later",
    ),
    "addresses_too_slow": ("图片和文件未能及时下载", "Images and files could not be fetched in time"),
    "base_url_invalid": ("接口地址无效", "The base URL is not valid"),
    "empty_reply": ("模型没有返回任何内容，请重试", "The model returned nothing, please try again"),
    "local_model_failed": ("本地模型启动失败：{reason}", "The local model could not be started: {reason}"),
    "local_model_stopped": ("本地模型已停止", "The local model has been stopped"),
    "prompt_blocked": (
        "提示词被 {provider} 的内容审查拦截（{word}）",
        "The prompt was blocked by the content filter of {provider} ({word})",
    ),
    "provider_error": ("{provider}{error}：{reason}", "{provider}{error}: {reason}"),
    "proxy_extra_missing": (
        "{provider} 的代理是 SOCKS 代理，服务器需要安装扩展：pip install python-socks",
        "The proxy of {provider} is one of SOCKS, which needs an extra: pip install python-socks",
    ),
    "proxy_failed": (
        "代理未能连接到 {provider}{at:if_any}",
        "The proxy did not connect to {provider}{at:if_any}",
    ),
    "proxy_login_refused": (
        "代理不接受所设置的用户名和密码",
        "The proxy does not accept the user name and password that are set",
    ),
    "proxy_refused": (
        "代理拒绝连接到 {provider}{at:if_any}（HTTP {status}）",
        "The proxy refused to connect to {provider}{at:if_any} (HTTP {status})",
    ),
    "proxy_unreachable": (
        "无法连接到设置的代理，因此无法访问 {provider}",
        "The proxy that is set cannot be reached, so neither can {provider}",
    ),
    "too_many_addresses": (
        "需要下载的图片和文件不能超过 {most} 个",
        "At most {most} images and files can be fetched for a request",
    ),
    "upstream_address_blocked": (
        "自定义接口地址指向内网，已拒绝连接；需要时请管理员放行",
        "The base URL leads into a private network and was not connected to; an administrator can allow it",
    ),
    "upstream_broke_off": (
        "{provider} 在回复途中出错，回复不完整",
        "{provider} failed during the reply, which is incomplete",
    ),
    "upstream_connect_timeout": (
        "连接 {provider}{at:if_any} 超时{hint:if_any}",
        "The connection to {provider}{at:if_any} timed out{hint:if_any}",
    ),
    "upstream_encoding_unknown": (
        "{provider} 返回了不支持的压缩格式：{encoding}",
        "{provider} used a compression that is not supported: {encoding}",
    ),
    "upstream_event_too_large": (
        "{provider} 返回的单个事件过大",
        "{provider} sent an event that is too large",
    ),
    "upstream_host_unresolved": (
        "无法解析域名 {host}，请检查接口地址或服务器的网络{hint:if_any}",
        "The host name {host} cannot be resolved, please check the base URL or the server's network"
        "{hint:if_any}",
    ),
    "upstream_name_unresolved": (
        "无法解析 {provider} 的域名，请检查接口地址或服务器的网络{hint:if_any}",
        "The host name of {provider} cannot be resolved, please check the base URL or the server's network"
        "{hint:if_any}",
    ),
    "upstream_no_response_object": (
        "{provider} 没有 Responses 接口，返回的是 Chat Completions 的回复",
        "{provider} does not have Responses: it sent a reply of Chat Completions",
    ),
    "upstream_redirected": (
        "接口地址返回了重定向（HTTP {status}），请填写重定向后的地址",
        "The base URL redirects (HTTP {status}), please enter the address that it leads to",
    ),
    "upstream_response_too_large": ("{provider} 返回的数据过大", "{provider} sent too much data"),
    "upstream_stream_compressed": ("{provider} 返回了压缩的数据流", "{provider} compressed its stream"),
    "upstream_tls_failed": (
        "与 {provider}{at:if_any} 的安全连接失败{hint:if_any}",
        "The secure connection to {provider}{at:if_any} failed{hint:if_any}",
    ),
    "upstream_undecompressable": (
        "{provider} 返回了无法解压的数据",
        "{provider} sent data that cannot be decompressed",
    ),
    "upstream_unreadable": (
        "{provider} 返回了无法识别的数据",
        "{provider} sent data that cannot be read",
    ),
    "usable_key_missing": ("没有可用的 API 密钥", "There is no usable API key"),
}
