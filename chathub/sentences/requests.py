"""Errors of a request's form: its body, its fields and its headers."""

SENTENCES = {
    "arguments_too_large": (
        "所有工具调用的参数合计不能超过 {most} 个字符",
        "The arguments of all tool calls may have {most} characters together",
    ),
    "body_compressed": (
        "不支持压缩的请求体，请去掉请求头 Content-Encoding",
        "The request body must not be compressed, please leave out Content-Encoding",
    ),
    "body_incomplete": ("请求体无法读取", "The request body cannot be read"),
    "body_not_json": (
        "请求体必须是 JSON，请带上请求头 Content-Type: application/json",
        "The request body must be JSON, with the header Content-Type: application/json",
    ),
    "body_not_object": ("请求体应为 JSON 对象", "The request body must be a JSON object"),
    "body_timeout": ("请求体接收超时", "The request body did not arrive in time"),
    "body_too_large": ("请求体过大，不能超过 {most:bytes}", "The request body may have {most:bytes} at most"),
    "content_type_unsupported": ("不支持的内容类型", "The content type is not supported"),
    "cors_refused": ("不允许的跨域请求", "Requests from this origin are not allowed"),
    "cursor_unknown": ("列表中没有 {id}", "The list has no {id}"),
    "cursors_exclusive": (
        "after_id 与 before_id 只能给一个",
        "Only one of after_id and before_id may be given",
    ),
    "date_invalid": ("{where}不是有效的日期或时间", "{where} is no date or time"),
    "expectation_unsupported": ("不支持的 Expect 请求头", "The Expect header is not supported"),
    "field_case_differs": (
        "字段 {field} 与 {meant} 只有大小写不同",
        "Field {field} differs from {meant} only in case",
    ),
    "field_empty": ("{where}不能为空", "{where} must not be empty"),
    "field_has_nul": (
        "{where}不能包含 NUL 字符（\\u0000）",
        "{where} must not have a NUL character (\\u0000)",
    ),
    "field_invalid": ("{where}的值无效", "{where} is not valid"),
    "field_out_of_range": (
        "{where}应在 {least} 到 {most} 之间",
        "{where} must be between {least} and {most}",
    ),
    "field_repeated": ("字段 {field} 出现了两次", "Field {field} comes twice"),
    "field_required": ("缺少必填字段 {field}", "Field {field} is required"),
    "field_too_large": ("{where}不能超过 {most}", "{where} must not be more than {most}"),
    "field_too_long": ("{where}最多 {most} 个字符", "{where} may have {most} characters at most"),
    "field_too_many_bytes": ("{where}不能超过 {most:bytes}", "{where} may have {most:bytes} at most"),
    "field_too_short": ("{where}至少 {least} 个字符", "{where} must have at least {least} characters"),
    "field_too_small": ("{where}不能小于 {least}", "{where} must not be less than {least}"),
    "field_unlike_example": ("{where}应形如 {example}", "{where} must be like {example}"),
    "field_unsupported": (
        "{where}对模型 {model} 不可用：其提供商的协议没有这一参数",
        "{where} cannot be sent to model {model}: its provider's format has no such field",
    ),
    "field_value_unknown": ("{where}的值 {value} 无效", "{where} has a value that is not known: {value}"),
    "field_wrong_type": ("{where}应为{expected:or}", "{where} must be {expected:or}"),
    "field_wrong_value": ("{where}只能是 {allowed:or}", "{where} must be {allowed:or}"),
    "form_boundary_missing": (
        "请求体必须是 multipart/form-data 表单，其 Content-Type 须带有 boundary",
        "The request body must be a form, with the header Content-Type: multipart/form-data; boundary=…",
    ),
    "form_encoded": (
        "表单的各部分不支持 Content-Transfer-Encoding",
        "The parts of the form must have no Content-Transfer-Encoding",
    ),
    "form_incomplete": (
        "表单不完整：缺少结尾的 boundary",
        "The form is not complete: its last boundary is missing",
    ),
    "form_invalid": (
        "请求体不是有效的 multipart/form-data 表单",
        "The request body is no valid multipart/form-data form",
    ),
    "form_texts_too_large": (
        "表单的文本字段合计不能超过 {most:bytes}",
        "The texts of the form may have {most:bytes} together",
    ),
    "form_too_many_parts": ("表单最多 {most} 个部分", "The form may have {most} parts at most"),
    "host_refused": (
        "请求的 Host 不是本服务器的名称；管理员可用 CHATHUB_ALLOWED_HOSTS 设置",
        "The Host of the request is no name of this server; administrators set it in CHATHUB_ALLOWED_HOSTS",
    ),
    "idempotency_key_invalid": (
        "Idempotency-Key 须为 1–{most} 个可见字符",
        "Idempotency-Key must be 1 to {most} visible characters",
    ),
    "invalid_request": ("请求无效", "The request is not valid"),
    "item_unknown": (
        "{where}指向的输入项没有保存在这里：请发送该项本身（在 AI SDK 中设置 store: false）",
        "{where} names an item that is not kept here: send the item itself (in the AI SDK set store: false)",
    ),
    "json_invalid": ("请求体不是有效的 JSON", "The request body is not valid JSON"),
    "kept_elsewhere": (
        "{where}指向保存在 OpenAI 的内容，模型 {model} 的提供商无法读取：请发送内容本身",
        "{where} names what OpenAI keeps, and the provider of model {model} cannot read it: send the content",
    ),
    "list_empty": ("{where}不能是空数组", "{where} must not be an empty array"),
    "list_too_long": ("{where}最多 {most} 项", "{where} may have {most} items at most"),
    "list_too_short": ("{where}至少 {least} 项", "{where} must have at least {least} items"),
    "malformed_request": (
        "无法识别的 HTTP 请求，或请求行、请求头过长",
        "This is no HTTP request, or its request line or headers are too long",
    ),
    "method_not_allowed": ("该地址不支持此请求方法", "This path does not allow this method"),
    "not_found": ("请求的资源不存在", "There is nothing at this path"),
    "other_fields_too_large": (
        "除 {fields:list} 之外的字段合计不能超过 {most:bytes}",
        "The fields besides {fields:list} may have {most:bytes} together",
    ),
    "request_failed": ("请求失败", "The request failed"),
    "request_too_large": ("请求体过大", "The request body is too large"),
    "stored_file_unsupported": (
        "{where}指向上传到 OpenAI 的文件，这里无法读取：请用 file_data 或 image_url 发送内容",
        "{where} names a file that was uploaded to OpenAI: send its content as file_data or image_url",
    ),
    "too_many_fields": ("请求体最多 {most} 个字段", "The request body may have {most} fields at most"),
    "too_many_parts": (
        "{where}的内容块和工具调用合计最多 {most} 个",
        "{where} may have {most} parts and tool calls together",
    ),
    "too_many_values": ("请求体包含的值过多", "The request body has too many values"),
    "tool_unsupported": (
        "{where}的 {tool} 由 OpenAI 自己的 Responses 接口执行，该模型的提供商没有",
        "{where} is {tool}, a tool of OpenAI's own Responses, which the provider of this model has not",
    ),
    "url_invalid": (
        "字段 {field} 不是有效的 http/https 地址",
        "Field {field} is no http or https address",
    ),
}
