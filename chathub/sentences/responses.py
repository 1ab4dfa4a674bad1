"""What is said about stored responses of ``/v1/responses``."""

SENTENCES = {
    "background_not_stored": (
        "background 为 true 时，store 不能为 false：后台生成的响应总会保存",
        "With background, store must not be false: a response in the background is always stored",
    ),
    "conversation_unsupported": (
        "本服务器不保存 Responses 的 conversation，请用 store: true 和 previous_response_id 接着说",
        "This server keeps no conversations of Responses: continue with store: true and previous_response_id",
    ),
    "previous_response_not_found": (
        "没有保存响应 {id}：只有请求带有 store: true 的响应才会保存，也只有它们可以继续",
        "Response {id} is not stored: only responses to requests with store: true are, and can be continued",
    ),
    "previous_response_running": (
        "响应 {id} 还在生成，结束后才能继续",
        "Response {id} is still running, and can be continued when it has ended",
    ),
    "response_cancelled": ("响应已取消", "The response was cancelled"),
    "response_chain_too_long": (
        "previous_response_id 最多可连接 {most} 个响应",
        "A chain of previous_response_id may have {most} responses at most",
    ),
    "response_cut_off": (
        "服务器没能把响应生成完，只保留了此前的内容",
        "The server could not generate the response to its end; what had come before is kept",
    ),
    "response_not_background": (
        "响应 {id} 不是在后台生成的，不能取消",
        "Response {id} does not run in the background, and cannot be cancelled",
    ),
    "response_not_found": (
        "没有保存响应 {id}：只有请求带有 store: true 的响应才会保存",
        "Response {id} is not stored: only responses to requests with store: true are",
    ),
    "responses_not_kept": (
        "本服务器不保存响应（CHATHUB_RESPONSES_DAYS 为 0），请去掉 store 和 background",
        "This server stores no responses (CHATHUB_RESPONSES_DAYS is 0): leave out store and background",
    ),
}
