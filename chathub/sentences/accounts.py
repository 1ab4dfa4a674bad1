"""Errors of accounts, sessions, access tokens and invite codes."""

SENTENCES = {
    "access_token_invalid": ("访问令牌无效或已过期", "The access token is not valid or has expired"),
    "access_token_not_found": ("访问令牌不存在", "There is no such access token"),
    "account_changed": ("账号信息已变更，请重新登录", "The account has changed, please log in again"),
    "account_disabled": ("账号已被禁用", "The account is disabled"),
    "admin_required": ("需要管理员权限", "Only an administrator may do this"),
    "current_password_required": (
        "此修改需要提供当前密码 current_password",
        "This change needs the current password in current_password",
    ),
    "current_password_wrong": ("当前密码不正确", "The current password is wrong"),
    "demo_token_disabled": (
        "demo-token 对应的账号已被禁用",
        "The account of demo-token is disabled",
    ),
    "email_invalid": ("邮箱格式不正确", "This is not an e-mail address"),
    "email_taken": ("邮箱已被使用", "The e-mail address is in use already"),
    "invite_invalid": ("邀请码无效、已用完或已过期", "The invite code is not valid, used up or expired"),
    "invite_not_found": ("邀请码不存在", "There is no such invite code"),
    "invite_required": ("注册需要邀请码 invite_code", "Registration needs an invite code in invite_code"),
    "last_admin": (
        "不能删除、禁用或降级最后一位管理员",
        "The last administrator cannot leave, be disabled or lose the role",
    ),
    "login_required": ("请先登录", "Please log in first"),
    "mail_not_configured": (
        "服务器未配置邮件服务，请联系管理员",
        "This server sends no mail, please ask the administrator",
    ),
    "mail_not_sent": (
        "邮件发送失败，请检查邮箱地址或稍后重试",
        "The mail could not be sent, please check the address or try again later",
    ),
    "networks_invalid": (
        "字段 allowed_networks 含有无效的地址或网段",
        "Field allowed_networks has an address or network that is not valid",
    ),
    "own_account_disabling": ("不能禁用自己", "You cannot disable yourself"),
    "own_account_removal": (
        "删除自己的账号请用 DELETE /api/users/profile，并提供密码",
        "To remove your own account, use DELETE /api/users/profile with your password",
    ),
    "own_rights_removal": (
        "不能禁用自己或取消自己的管理员权限",
        "You cannot disable yourself or give up your own role of administrator",
    ),
    "password_has_nul": (
        "密码不能包含 NUL 字符（\\u0000）",
        "A password cannot have a NUL character (\\u0000)",
    ),
    "password_too_long": ("密码不能超过 {most} 字节", "A password may have {most} bytes at most"),
    "registration_closed": (
        "服务器未开放注册，请联系管理员",
        "Registration is closed, please ask the administrator",
    ),
    "session_ended": ("登录已失效，请重新登录", "The login has ended, please log in again"),
    "session_expired": ("登录已过期，请重新登录", "The login has expired, please log in again"),
    "session_not_found": ("登录会话不存在", "There is no such session"),
    "session_required": (
        "demo-token 不是登录会话，请先登录",
        "demo-token is no session, please log in first",
    ),
    "session_too_old": (
        "登录已达最长有效期，请重新登录",
        "The login has reached its longest life, please log in again",
    ),
    "subscription_not_found": ("订阅类型不存在", "There is no such subscription"),
    "token_invalid": ("无效的认证令牌", "The authentication token is not valid"),
    "token_network_refused": (
        "该访问令牌不能从此网络使用",
        "The access token may not be used from this network",
    ),
    "token_scope_refused": ("该访问令牌不能用于此接口", "The access token does not open this path"),
    "tokens_differ": (
        "Authorization 和 x-api-key 是两个不同的令牌，请只用一个",
        "Authorization and x-api-key have two different tokens, please send only one",
    ),
    "too_many_access_tokens": (
        "访问令牌数量已达上限（{most} 个），请先删除不用的",
        "There are {most} access tokens already, please delete unused ones first",
    ),
    "too_many_attempts": (
        "尝试次数过多，请在 {wait:duration}后重试",
        "Too many attempts, please try again in {wait:duration}",
    ),
    "too_many_invites": (
        "邀请码数量已达上限（{most} 个），请先删除不用的",
        "There are {most} invite codes already, please delete unused ones first",
    ),
    "user_not_found": ("用户不存在", "There is no such user"),
    "username_invisible": (
        "用户名包含不可见或无效的字符",
        "The user name has characters that cannot be seen or are not valid",
    ),
    "username_length": (
        "用户名须有 {least} 到 {most} 个字符",
        "A user name has {least} to {most} characters",
    ),
    "username_reserved": ("用户名 {name} 为系统保留", "The user name {name} is reserved"),
    "username_taken": ("用户名已存在", "The user name is in use already"),
    "username_too_long": ("用户名过长", "The user name is too long"),
    "verification_code_required": ("请填写邮箱验证码", "Please enter the code that was mailed to you"),
    "verification_code_wrong": (
        "验证码错误或已过期，请重新获取",
        "The verification code is wrong or has expired, please request a new one",
    ),
    "wrong_credentials": ("用户名或密码错误", "Wrong user name or password"),
}
