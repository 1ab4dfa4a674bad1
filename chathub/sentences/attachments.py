"""What stands in a reply's text in place of an attachment."""

SENTENCES = {
    "attachment_not_stored": (
        "［{what}：服务器暂时无法保存］",
        "[{what}: the server cannot store it now]",
    ),
    "attachment_too_large": (
        "［{what}：一条回复的附件至多 {most:bytes}，未保存］",
        "[{what}: left out, a reply has at most {most:bytes} of attachments]",
    ),
    "attachment_too_many": (
        "［{what}：一条回复至多 {most} 个附件，未保存］",
        "[{what}: left out, a reply has at most {most} attachments]",
    ),
    "attachment_unreadable": ("［{what}：无法读取］", "[{what}: cannot be read]"),
    "attachment_unsupported": (
        "［{what}：此格式无法显示］",
        "[{what}: cannot be shown in this format]",
    ),
}
