"""Errors of chats and replies, and how replies end."""

SENTENCES = {
    "client_left": ("客户端断开，已停止生成", "The client left, and the reply was stopped"),
    "idempotency_key_reused": (
        "同一幂等键已用于不同的请求",
        "The idempotency key was used for another request",
    ),
    "image_address_invalid": (
        "字段 {field} 含有无效的图片地址",
        "Field {field} has an image address that is not valid",
    ),
    "image_not_accepted": (
        "字段 {field} 只接受 PNG、JPEG、GIF、WebP 的 data URL 或 https 地址",
        "Field {field} takes data URLs with base64 of PNG, JPEG, GIF and WebP, or https addresses",
    ),
    "image_too_large": (
        "字段 {field} 的图片不能超过 {most:bytes}",
        "An image in field {field} may have {most:bytes} at most",
    ),
    "image_type_mismatch": (
        "图片的实际格式与声明的类型不一致",
        "The image is not of the type that was declared",
    ),
    "image_undecodable": (
        "字段 {field} 含有无法解码的图片",
        "Field {field} has an image that cannot be decoded",
    ),
    "images_too_large": (
        "请求中的图片合计不能超过 {most:bytes}",
        "All images of a request may have {most:bytes} together",
    ),
    "message_empty": ("消息内容不能为空", "The message must not be empty"),
    "message_with_tool_results": (
        "message、images 与 tool_results 不能同时提供",
        "message and images cannot come together with tool_results",
    ),
    "no_reply_running": ("没有正在生成的回复", "No reply is being generated"),
    "not_stored": ("{what}", "{what}"),
    "older_failure": ("{text}", "{text}"),
    "prompt_not_stored": (
        "提问被拒绝时没有保存图片、工具等内容，无法重新生成，请修改后重新提问",
        "Images and tools of the refused message were not stored, please edit it and send it again",
    ),
    "reply_in_progress": (
        "该对话的上一条回复仍在生成中",
        "The last reply of this conversation is still being generated",
    ),
    "reply_interrupted": (
        "服务器意外退出，回复中断",
        "The server ended unexpectedly, and the reply is incomplete",
    ),
    "reply_not_saved": ("回复未能保存", "The reply could not be saved"),
    "reply_partly_saved": (
        "数据库长时间未能保存这条回复，只保存了一部分",
        "The database could not take this reply for a long time, and only a part of it was saved",
    ),
    "reply_stopped": ("已停止生成", "The reply was stopped"),
    "reply_too_long": ("回复过长，已中止", "The reply is too long and was broken off"),
    "reply_took_too_long": ("回复时间过长，已中止", "The reply took too long and was broken off"),
    "reply_unfollowed": (
        "长时间没有客户端接收，已停止生成",
        "No client followed the reply for a long time, and it was stopped",
    ),
    "shutdown_interrupted_reply": (
        "服务器正在关闭，回复中断",
        "The server is shutting down, and the reply is incomplete",
    ),
    "stop_target_required": (
        "请提供 message_id 或 conversation_id",
        "Please give message_id or conversation_id",
    ),
    "too_many_images": (
        "一条消息最多附带 {most} 张图片",
        "A message may have {most} images at most",
    ),
    "too_many_images_sent": (
        "正在发送的图片过多，请等待其中一些回复结束后重试",
        "Too many images are being sent, please wait for some of the replies to end",
    ),
    "too_many_streams": (
        "并发回复过多（最多 {most} 个），请等待当前回复结束后重试",
        "Too many replies are being received ({most} at most), please wait for one to end",
    ),
    "tool_results_incomplete": (
        "tool_results 必须回答上一条回复的所有工具调用",
        "tool_results must have a result for every tool call of the last reply",
    ),
    "tool_results_unmatched": (
        "tool_results 与上一条回复的工具调用不符",
        "tool_results does not match the tool calls of the last reply",
    ),
}
