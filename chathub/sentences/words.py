"""Parts of sentences, and texts that are no sentences: titles, names, notes.

The name of a field begins a sentence; in Chinese a blank follows Latin letters.
"""

SENTENCES = {
    "address_with_v1": ("服务器地址加 /v1", "the server's address with /v1"),
    "address_without_v1": ("不带 /v1 的服务器地址", "the server's address without /v1"),
    "alias": ("别名", "Alias"),
    "amount_of_tokens": ("{count} 个 token", "{count} tokens"),
    "array": ("数组", "an array"),
    "at_host": ("（{host}）", " ({host})"),
    "at_host_by_proxy": ("（{host}，经由代理）", " ({host}, through the proxy)"),
    "boolean": ("布尔值", "true or false"),
    "budget_of_cost": ("本月费用额度", "The budget of this month in money"),
    "budget_of_token_cost": ("该访问令牌本月费用额度", "The access token's budget of this month in money"),
    "budget_of_token_tokens": ("该访问令牌本月额度", "The access token's budget of this month"),
    "budget_of_tokens": ("本月额度", "The budget of this month"),
    "bulky_messages": ("图片、工具等内容", "images, tools and the like"),
    "exit_code": ("代码 {code}", "code {code}"),
    "field": ("字段 {name} ", "Field {name}"),
    "hash_of_file": ("SHA-256 校验值", "SHA-256 sum"),
    "http_answer": ("HTTP {status}：{reason}", "HTTP {status}: {reason}"),
    "http_error": (" 返回错误（HTTP {status}）", " returned an error (HTTP {status})"),
    "image_conversation": ("图片", "Image"),
    "integer": ("整数", "a whole number"),
    "local_model": ("本地模型", "Local model"),
    "local_model_engine_failed": ("推理引擎出错（{error}）", "the inference engine failed ({error})"),
    "local_model_engine_missing": (
        "未安装推理引擎，请运行 {command}",
        "the inference engine is not installed, please run {command}",
    ),
    "local_model_engine_unloadable": (
        "推理引擎不能在此系统上加载",
        "the inference engine cannot be loaded on this system",
    ),
    "local_model_exited": ("推理进程意外退出（代码 {code}）", "its process ended unexpectedly (code {code})"),
    "local_model_file_missing": ("找不到模型文件 {name}", "there is no model file {name}"),
    "local_model_file_unloadable": (
        "模型文件无法加载，可能已损坏、不受支持，或内存不足",
        "the model file cannot be loaded: it may be damaged or not supported, or memory is short",
    ),
    "local_model_instructions_missing": (
        "此 CPU 缺少推理引擎所需的指令集（x86-64 需要 AVX2）",
        "this CPU lacks instructions that the inference engine needs (AVX2 on x86-64)",
    ),
    "local_model_killed": (
        "进程被系统终止，可能是内存不足",
        "the system ended its process, memory may be short",
    ),
    "local_model_libgomp_missing": (
        "系统缺少 libgomp，请运行 apt install libgomp1",
        "the system lacks libgomp, please run apt install libgomp1",
    ),
    "local_model_not_ready": (
        "在 {seconds:duration}内没有就绪",
        "it was not ready within {seconds:duration}",
    ),
    "local_model_not_spawned": ("无法启动推理进程", "its process could not be started"),
    "new_conversation": ("新对话", "New conversation"),
    "new_messages": ("新的消息", "new messages"),
    "note_of_own_file": ("自备的 GGUF 模型文件。", "A GGUF model file of your own."),
    "note_of_qwen": (
        "Qwen2.5 Coder 0.5B 会中文和英语，约需 710 MB 内存，适合简单的问答和代码。",
        "Qwen2.5 Coder 0.5B knows Chinese and English, needs about 710 MB of memory, "
        "and is for simple questions and code.",
    ),
    "note_of_toy_model": (
        "SmolLM2 是一个很小的玩具模型，只会英语，常常答错，适合试用界面。",
        "SmolLM2 is a very small model, knows English only, is often wrong, and is for trying out.",
    ),
    "number": ("数字", "a number"),
    "object": ("对象", "an object"),
    "parameter": ("参数 {name} ", "Parameter {name}"),
    "password": ("密码", "The password"),
    "provider_text": ("{text}", "{text}"),
    "proxy_may_help": (
        "；若这台服务器无法直接访问，管理员可以用 {setting} 设置代理",
        "; if this server has no direct way there, an administrator can set a proxy with {setting}",
    ),
    "proxy_url_characters": (
        "不能含有空白、控制字符或反斜杠",
        "must have no blanks, control characters or backslashes",
    ),
    "proxy_url_end": (
        "主机和端口之后不能有任何内容；密码中的特殊字符须用百分号编码",
        "must end after host and port; special characters of the password must be percent-encoded",
    ),
    "proxy_url_host": (
        "须含有效的主机名或地址；密码中的特殊字符须用百分号编码",
        "must name a valid host; special characters of the password must be percent-encoded",
    ),
    "proxy_url_login": (
        "用户名和密码须用百分号编码，各不超过 255 字节，用户名不能含冒号",
        "must have user and password percent-encoded, of at most 255 bytes each, and no colon in the user",
    ),
    "proxy_url_not_ascii": (
        "用户名和密码只能含 ASCII 字符",
        "must have a user name and a password in ASCII",
    ),
    "proxy_url_port": ("端口须为 1 到 65535", "must have a port from 1 to 65535"),
    "proxy_url_scheme": (
        "须以 http://、https://、socks5:// 或 socks5h:// 开头",
        "must begin with http://, https://, socks5:// or socks5h://",
    ),
    "proxy_url_socks_login": (
        "是 SOCKS 代理：用户名和密码须都有或都没有",
        "is a proxy of SOCKS, which needs a user name and a password, or neither",
    ),
    "proxy_url_socks_missing": (
        "SOCKS 代理需要安装扩展：pip install python-socks",
        "is a proxy of SOCKS, which needs an extra: pip install python-socks",
    ),
    "proxy_url_stars": (
        "中的密码是星号：地址与原来的不同，须重新输入密码",
        "has stars for its password: an address other than the stored one needs it again",
    ),
    "replies_wait": (
        "已有过多回复未能保存，暂时不接受新的消息，请稍后重试",
        "Too many replies wait to be stored, and no new messages are accepted now, please try again later",
    ),
    "reply_kept": (
        "回复暂时无法保存，文字还在，服务器会继续尝试保存",
        "The reply could not be stored yet; its text is kept, and the server goes on trying",
    ),
    "request_body": ("请求体", "The request body"),
    "size_of_file": ("大小", "size"),
    "string": ("字符串", "a string"),
    "the_provider": ("提供商", "the provider"),
    "token_not_created": ("未创建", "none"),
    "tool_choice_object": ("指定函数的对象", "an object that names a function"),
    "uploads": ("上传的文件", "files"),
    "username": ("用户名", "The user name"),
}
