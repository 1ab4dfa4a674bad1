"""Accounts as rows: how names are compared, and what several statements must do as one."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from chathub.database.connection import Row, Transaction
from chathub.errors import BadRequest, NotFound
from chathub.security import audit
from chathub.security.audit import Actor

# what a subscription bounds and a user may have otherwise: tokens and millionths in a calendar month …
LIMITS = ("usage_limit", "cost_limit", "requests_per_minute", "replies_at_once")
# … as a row shows those that hold
_LIMITS_SHOWN = ("subscription_type", "usage_limit", "most_cost", "requests_per_minute", "replies_at_once")

# no blanks, and nothing that has a meaning of its own in the head of a mail
_ATOM = r"[^@\s\x00-\x1f<>\"'()\[\],;:\\.]+"
_EMAIL = re.compile(rf"{_ATOM}(\.{_ATOM})*@{_ATOM}(\.{_ATOM})+")
# one character may be compared as eighteen
_LONGEST_KEY = 200
# control, format (zero width), surrogate, private use, unassigned, separators of lines and paragraphs
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# letters and marks that show nothing (Unicode's Default_Ignorable_Code_Point, and Braille's blank)
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# blanks that look like one, in the form in which names are compared
_BLANKS = re.compile(r"  |[^\S ]")


def comparable(name: str) -> str:
    """The form in which names and addresses are compared: ``Ａdmin`` and ``admin`` are one name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def check_username(name: str) -> str:
    """Give the name back, without blanks around it, if it may be used.

    Raises:
        BadRequest: its length, or characters that nobody can see.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not 2 <= len(name) <= 50:
        raise BadRequest("用户名长度应为 2 到 50 个字符")
    if len(comparable(name)) > _LONGEST_KEY:
        raise BadRequest("用户名过长")
    if not _is_plain(name) or _BLANKS.search(comparable(name)):
        raise BadRequest("用户名包含不可见或无效的字符")
    return name


def check_email(address: str) -> str:
    """Give the address back if it looks like one.

    Raises:
        BadRequest: it does not.
    """
    address = address.strip()
    if not _EMAIL.fullmatch(address) or len(address) > 254 or not _is_plain(address):
        raise BadRequest("邮箱格式不正确")
    return address


def _is_plain(text: str) -> bool:
    """Whether everything in a text can be seen: two names that look the same would be one person's mask."""
    hidden = any(unicodedata.category(character) in _INVISIBLE for character in text)
    return not hidden and not _BLANK.search(text)


def insert(
    tx: Transaction,
    /,
    *,
    username: str,
    email: str,
    password_hash: str,
    now: int,
    role: str = "user",
    subscription_type: str = "free",
    is_active: bool = True,
    password_is_default: bool = False,
    **limits: int | None,
) -> Row:
    """A new account; a name or address that is taken is the database's word (``users_username``).

    ``limits`` are those of ``LIMITS``; what is None or missing is the subscription's.
    """
    user_id = tx.add(
        tx.q.users.insert,
        username=username,
        username_key=comparable(username),
        email=email,
        email_key=comparable(email),
        password_hash=password_hash,
        password_is_default=password_is_default,
        role=role,
        subscription_type=subscription_type,
        **_own_limits(tx, subscription_type, limits),
        is_active=is_active,
        now=now,
    )
    return tx.all(tx.q.users.get_by_id, user_id=user_id)[0]


def update(tx: Transaction, user_id: int, changes: dict[str, Any], who: Actor, now: int) -> Row:
    """Change some fields of an account; a new password, role or disabling ends its older tokens. What
    changed is in the audit.

    Raises:
        NotFound: no such account.
        BadRequest: the acting administrator would lock out itself, or the last administrator.
    """
    old = tx.one(tx.q.users.get_by_id, user_id=user_id)
    if old is None:
        raise NotFound("用户不存在")
    new = {**dict(old), **changes}
    _check_loss(tx, old, new, who.user_id)
    password = changes.get("password_hash")
    ends_tokens = bool(password) or new["role"] != old["role"] or (old["is_active"] and not new["is_active"])
    limits = {name: changes.get(name, old[f"own_{name}"]) for name in LIMITS}
    tx.run(
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
        **_own_limits(tx, new["subscription_type"], limits),
        is_active=new["is_active"],
        token_version=old["token_version"] + ends_tokens,
        now=now,
    )
    if ends_tokens:
        tx.run(tx.q.sessions.end_all, user_id=user_id)
    row = tx.all(tx.q.users.get_by_id, user_id=user_id)[0]
    _record(tx, who, old, row, password_changed=bool(password), now=now)
    return row


def _record(tx: Transaction, who: Actor, old: Row, new: Row, *, password_changed: bool, now: int) -> None:
    """An entry of its own for each kind of change, so that each can be looked for."""
    events = {
        "user.updated": audit.differences(old, new, ("username", "email")),
        "user.role": audit.differences(old, new, ("role",)),
        "user.limits": audit.differences(old, new, _LIMITS_SHOWN),
        "user.enabled" if new["is_active"] else "user.disabled": audit.differences(old, new, ("is_active",)),
    }
    for event, details in events.items():
        if details:
            audit.record(tx, who, event, now, f"user {new['id']}", **details)
    if password_changed:
        audit.record(tx, who, "user.password", now, f"user {new['id']}")


def _check_loss(tx: Transaction, old: Row, new: dict[str, Any], acting_id: int | None) -> None:
    """Nobody locks itself out, and one administrator always remains."""
    disabled = old["is_active"] and not new["is_active"]
    loses = old["role"] == "admin" and old["is_active"] and (new["role"] != "admin" or disabled)
    if loses and old["id"] == acting_id:
        raise BadRequest("不能禁用自己或取消自己的管理员权限")
    if loses and tx.all(tx.q.users.count_other_admins, user_id=old["id"])[0][0] == 0:
        raise BadRequest("不能禁用或降级最后一位管理员")
    if old["id"] == acting_id and disabled:
        raise BadRequest("不能禁用自己")


def _own_limits(
    tx: Transaction, subscription_type: str, limits: Mapping[str, int | None]
) -> dict[str, int | None]:
    """What is kept of a user's limits: one that is its subscription's anyway (the page sends back what it
    was shown) is not its own, and changes with the subscription."""
    usual = tx.all(tx.q.subscriptions.get, name=subscription_type)[0]
    wanted = {name: limits.get(name) for name in LIMITS}
    return {name: None if value == getattr(usual, name) else value for name, value in wanted.items()}
