"""Errors of budgets and rate limits."""

SENTENCES = {
    "budget_insufficient": (
        "{budget}不足（剩余 {left}，限额 {limit}），{day} 恢复",
        "{budget} does not suffice ({left} left of {limit}); it renews on {day}",
    ),
    "budget_used_up": (
        "{budget}已用完（已用 {used}，限额 {limit}），{day} 恢复",
        "{budget} is used up ({used} used, the limit is {limit}); it renews on {day}",
    ),
    "storage_full": (
        "存储空间已满（已用 {used:bytes}，限额 {limit:bytes}），请先删除一些消息",
        "The storage is full ({used:bytes} used, the limit is {limit:bytes}); please delete some messages",
    ),
    "too_many_replies": (
        "并发回复不能超过 {most} 个，请等待当前回复结束后重试",
        "No more than {most} replies at once, please wait for one to end",
    ),
    "too_many_replies_of_token": (
        "该访问令牌的并发回复不能超过 {most} 个，请等待当前回复结束后重试",
        "No more than {most} replies at once with this access token, please wait for one to end",
    ),
    "too_many_requests_per_minute": (
        "每分钟最多 {most} 次请求，请在 {wait:duration}后重试",
        "No more than {most} requests a minute, please try again in {wait:duration}",
    ),
    "too_many_requests_per_minute_of_token": (
        "该访问令牌每分钟最多 {most} 次请求，请在 {wait:duration}后重试",
        "No more than {most} requests a minute with this access token, please try again in {wait:duration}",
    ),
}
