"""What the command line says of the built-in model, and the mails that the server sends."""

SENTENCES = {
    "backup_mail_subject": ("ChatHub 备份失败", "ChatHub: a backup failed"),
    "backup_mail_text": (
        "定时备份失败：{error}\n\n服务器会每小时重试一次。运行 chathub doctor 可查看详情。",
        "A scheduled backup failed: {error}\n\nThe server tries again every hour. "
        "The command chathub doctor says more.",
    ),
    "code_mail_subject": ("ChatHub 注册验证码", "ChatHub: your verification code"),
    "code_mail_text": (
        "您的 ChatHub 注册验证码是：{code}\n\n{minutes} 分钟内有效，只能使用一次。\n\n"
        "如果不是您本人在注册，请忽略这封邮件。\n",
        "Your verification code for ChatHub: {code}\n\n"
        "It is valid for {minutes} minutes, and can be used once.\n\n"
        "If you have not tried to register, please ignore this mail.\n",
    ),
    "disk_too_small": (
        "磁盘空间不足：{folder} 需要 {needed}，只剩 {free}",
        "The disk is too full: {folder} needs {needed}, and {free} are free",
    ),
    "download_broken_off": (
        "下载中断（{reason}）；再次运行会从断点继续",
        "The download broke off ({reason}); the next run continues it",
    ),
    "download_damaged": (
        "下载的 {title} {what}不符，已删除；请重试或换一个下载源",
        "The downloaded {title} has another {what} and was deleted; try again, or another source",
    ),
    "download_done": ("{title} 已下载并校验", "{title} was downloaded and checked"),
    "download_not_resumable": (
        "下载 {title} 失败：服务器不支持断点续传（HTTP {status}）",
        "{title} could not be downloaded: the server does not continue downloads (HTTP {status})",
    ),
    "download_not_saved": ("无法保存 {path}：{reason}", "{path} could not be saved: {reason}"),
    "download_progress": (
        "已下载 {percentage}%（{have} / {size}）",
        "{percentage}% downloaded ({have} of {size})",
    ),
    "download_refused": (
        "下载 {title} 失败：服务器返回 {status}",
        "{title} could not be downloaded: the server returned {status}",
    ),
    "download_started": (
        "下载 {title}：{size}，保存到 {path}",
        "Downloading {title}: {size}, to {path}",
    ),
    "download_wrong_size": (
        "下载源上的 {title} 大小不符，没有下载；请换一个下载源",
        "{title} has another size at the source and was not downloaded; try another source",
    ),
    "email_changed_subject": ("ChatHub 邮箱已修改", "ChatHub: your e-mail address was changed"),
    "email_changed_text": (
        "您的 ChatHub 账号 {username} 的邮箱已改为另一个地址，关于此账号的邮件不再发送到这里。\n\n"
        "如果不是您本人所改，请立即联系管理员。\n",
        "Your account {username} at ChatHub has another e-mail address now, and mails about it no longer "
        "come here.\n\n"
        "If you have not changed it, please tell the administrator at once.\n",
    ),
    "email_mail_subject": ("ChatHub 新邮箱验证码", "ChatHub: your code for a new e-mail address"),
    "email_mail_text": (
        "ChatHub 账号 {username} 要改用这个邮箱，验证码是：{code}\n\n{minutes} 分钟内有效，只能使用一次。\n\n"
        "如果不是您本人在修改，请忽略这封邮件，并且不要把验证码告诉任何人：不填写验证码，什么都不会改变。\n",
        "The account {username} at ChatHub is to have this e-mail address. The code: {code}\n\n"
        "It is valid for {minutes} minutes, and can be used once.\n\n"
        "If you have not asked for this, please ignore this mail and give the code to nobody: without it "
        "nothing changes.\n",
    ),
    "hub_address_invalid": (
        "HF_ENDPOINT 必须以 http:// 或 https:// 开头",
        "HF_ENDPOINT must begin with http:// or https://",
    ),
    "pip_failed": ("pip 下载失败：{reason}", "pip could not download it: {reason}"),
    "pip_missing": (
        "下载需要 pip，而此 Python 环境没有；请先运行 python -m ensurepip",
        "The download needs pip, which this Python does not have; run python -m ensurepip first",
    ),
    "reset_mail_subject": ("ChatHub 重置密码验证码", "ChatHub: your code for a new password"),
    "reset_mail_text": (
        "ChatHub 账号 {username} 要重置密码，验证码是：{code}\n\n{minutes} 分钟内有效，只能使用一次。\n\n"
        "如果不是您本人在重置，请忽略这封邮件，并且不要把验证码告诉任何人：您的密码没有改变。\n",
        "Somebody has forgotten the password of the account {username} at ChatHub. The code: {code}\n\n"
        "It is valid for {minutes} minutes, and can be used once.\n\n"
        "If it was not you, please ignore this mail and give the code to nobody: your password has not "
        "changed.\n",
    ),
    "unknown_local_model": (
        "未知的本地模型“{name}”，可用：{names:list}，或一个 GGUF 文件的路径",
        "There is no local model {name}; there are {names:list}, or the path of a GGUF file",
    ),
    "weights_missing": ("找不到模型文件 {path}", "There is no model file {path}"),
    "weights_not_gguf": ("{path} 不是 GGUF 模型文件", "{path} is no GGUF model file"),
    "weights_unreadable": (
        "无法读取模型文件 {path}：{reason}",
        "The model file {path} cannot be read: {reason}",
    ),
}
