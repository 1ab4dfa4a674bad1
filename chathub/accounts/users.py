"""Accounts as rows: how names are compared, and what several statements must do as one."""

import re
import unicodedata
from typing import Any

from chathub.database.connection import Row, Transaction
from chathub.errors import BadRequest, NotFound

# tokens in a calendar month, unless an administrator says otherwise
DEFAULT_LIMITS = {"free": 1_000_000, "pro": 10_000_000, "premium": 20_000_000, "enterprise": 100_000_000}

_EMAIL = re.compile(r"[^@\s\x00-\x1f<>\"']+@[^@\s\x00-\x1f<>\"'.]+(\.[^@\s\x00-\x1f<>\"'.]+)+")
# one character may be compared as eighteen
_LONGEST_KEY = 200
# control, format (zero width), surrogate, private use, unassigned, separators of lines and paragraphs
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def comparable(name: str) -> str:
    """The form in which names and addresses are compared: ``Ａdmin`` and ``admin`` are one name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def check_username(name: str) -> str:
    """Give the name back, without blanks around it, if it may be used.

    Raises:
        BadRequest: its length, or characters that nobody can see.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not 3 <= len(name) <= 50:
        raise BadRequest("用户名长度应为 3 到 50 个字符")
    if len(comparable(name)) > _LONGEST_KEY:
        raise BadRequest("用户名过长")
    if any(unicodedata.category(character) in _INVISIBLE for character in name):
        raise BadRequest("用户名包含不可见或无效的字符")
    return name


def check_email(address: str) -> str:
    """Give the address back if it looks like one.

    Raises:
        BadRequest: it does not.
    """
    address = address.strip()
    if not _EMAIL.fullmatch(address) or len(address) > 254:
        raise BadRequest("邮箱格式不正确")
    return address


def insert(
    tx: Transaction,
    *,
    username: str,
    email: str,
    password_hash: str,
    now: int,
    role: str = "user",
    subscription_type: str = "free",
    usage_limit: int | None = None,
    is_active: bool = True,
    password_is_default: bool = False,
) -> Row:
    """A new account; a name or address that is taken is the database's word (``users_username``)."""
    row = tx.one(
        tx.q.users.insert,
        username=username,
        username_key=comparable(username),
        email=email,
        email_key=comparable(email),
        password_hash=password_hash,
        password_is_default=password_is_default,
        role=role,
        subscription_type=subscription_type,
        usage_limit=DEFAULT_LIMITS[subscription_type] if usage_limit is None else usage_limit,
        is_active=is_active,
        now=now,
    )
    assert row is not None
    return row


def update(tx: Transaction, user_id: int, changes: dict[str, Any], acting_id: int, now: int) -> Row:
    """Change some fields of an account; a new password, role or disabling ends its older tokens.

    Raises:
        NotFound: no such account.
        BadRequest: the acting administrator would lock out itself, or the last administrator.
    """
    old = tx.one(tx.q.users.get_by_id, user_id=user_id)
    if old is None:
        raise NotFound("用户不存在")
    new = {**dict(old), **changes}
    # a limit that was its subscription's own moves with the subscription
    own_limit = (
        "usage_limit" not in changes and old["usage_limit"] == DEFAULT_LIMITS[old["subscription_type"]]
    )
    if new["usage_limit"] is None or own_limit:
        new["usage_limit"] = DEFAULT_LIMITS[new["subscription_type"]]
    loses = old["role"] == "admin" and old["is_active"] and (new["role"] != "admin" or not new["is_active"])
    if loses and user_id == acting_id:
        raise BadRequest("不能禁用自己或取消自己的管理员权限")
    if loses and tx.all(tx.q.users.count_other_admins, user_id=user_id)[0][0] == 0:
        raise BadRequest("不能禁用或降级最后一位管理员")
    if user_id == acting_id and old["is_active"] and not new["is_active"]:
        raise BadRequest("不能禁用自己")
    password = changes.get("password_hash")
    ends_tokens = bool(password) or new["role"] != old["role"] or (old["is_active"] and not new["is_active"])
    row = tx.one(
        tx.q.users.update,
        user_id=user_id,
        username=new["username"],
        username_key=comparable(new["username"]),
        email=new["email"],
        email_key=comparable(new["email"]),
        password_hash=password or old["password_hash"],
        password_is_default=0 if password else old["password_is_default"],
        role=new["role"],
        subscription_type=new["subscription_type"],
        usage_limit=new["usage_limit"],
        is_active=new["is_active"],
        token_version=old["token_version"] + ends_tokens,
        now=now,
    )
    assert row is not None
    return row
