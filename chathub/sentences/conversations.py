"""Errors of conversations, messages, files and usage."""

SENTENCES = {
    "before_not_a_conversation": (
        "参数 before 不是该用户的对话",
        "Parameter before is no conversation of this user",
    ),
    "before_not_a_message": (
        "参数 before 不是该对话的消息",
        "Parameter before is no message of this conversation",
    ),
    "conversation_deleted": ("对话已被删除", "The conversation was deleted"),
    "conversation_id_invalid": (
        "字段 conversation_id 不能含有 / \\ ? # % 或不可见字符，也不能是 . 或 ..",
        "Field conversation_id must not have / \\ ? # % or characters that cannot be seen, nor be . or ..",
    ),
    "conversation_not_found": ("对话不存在", "There is no such conversation"),
    "conversations_of_others": (
        "不能查看其他用户的对话",
        "The conversations of other users cannot be read",
    ),
    "file_not_found": ("文件不存在", "There is no such file"),
    "message_not_found": ("消息不存在", "There is no such message"),
    "not_a_user_message": ("只能修改用户消息", "Only a user's message can be edited"),
    "nothing_to_change": ("请至少提供 title 或 head_id", "Please give title or head_id"),
    "title_empty": ("标题不能为空", "The title must not be empty"),
    "tool_message": (
        "工具消息不能重新生成或修改",
        "A tool message can neither be generated again nor be edited",
    ),
    "usage_of_others": ("不能查看其他用户的用量", "The usage of other users cannot be read"),
}
