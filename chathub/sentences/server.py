"""Errors of the server itself: its database, its disk, its load, its end."""

SENTENCES = {
    "database_damaged": (
        "数据库的这一部分已损坏，无法完成请求，请联系管理员",
        "This part of the database is damaged, please ask the administrator",
    ),
    "database_failed": (
        "数据库暂时不可用，请稍后重试",
        "The database cannot be used now, please try again later",
    ),
    "database_full": (
        "磁盘空间不足，数据库暂时无法写入",
        "The disk is full, and the database cannot be written now",
    ),
    "database_locked": (
        "数据库正被其他程序占用，请稍后重试",
        "Another program has locked the database, please try again later",
    ),
    "database_missing": (
        "数据库文件已被删除或替换，暂时不接受新的消息，请联系管理员",
        "The database file is gone: no new messages are accepted, please ask the administrator",
    ),
    "database_read_only": (
        "数据库暂时无法写入，只能读取",
        "The database cannot be written now, only read",
    ),
    "disk_low": (
        "服务器磁盘空间不足，暂时不接受{what}",
        "The disk of the server is nearly full, and no {what} are accepted now",
    ),
    "internal_error": ("服务器内部错误", "Internal server error"),
    "metrics_not_installed": (
        "监控指标需要安装扩展：pip install prometheus-client",
        "Metrics need the extra [metrics]: pip install prometheus-client",
    ),
    "request_memory_full": (
        "服务器正在处理的请求体过多，请稍后重试",
        "The server has too many request bodies in memory, please try again later",
    ),
    "server_busy": ("服务器繁忙，请稍后重试", "The server is busy, please try again later"),
    "server_stopping": ("服务器正在关闭，请稍后重试", "The server is shutting down, please try again later"),
    "too_many_bodies": (
        "同时发送的请求体过大，请等待其中一些处理完后重试",
        "The request bodies sent at once are too large, please wait for some of them to be done",
    ),
    "too_many_downloads": (
        "同时下载的内容过多，请等待其中一些传完后重试",
        "Too much is being downloaded at once, please wait for some of it to be done",
    ),
    "too_many_requests": ("请求过多，请稍后重试", "Too many requests, please try again later"),
    "too_many_uploads": (
        "同时上传的文件过大，请等待其中一些处理完后重试",
        "The files sent at once are too large, please wait for some of them to be done",
    ),
    "uploads_full": (
        "服务器正在处理的文件过多，请稍后重试",
        "The server has too many files to handle now, please try again later",
    ),
}
