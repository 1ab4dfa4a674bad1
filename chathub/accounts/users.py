"""Accounts: how names are compared, and the writes that take several statements in one transaction."""

import re
import string
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from chathub.database.rows import users as rows
from chathub.database.rows.limits import AppliedLimits, LimitChanges
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound, Unauthorized
from chathub.security import audit
from chathub.security.audit import Actor

# no blanks, and no character with a meaning of its own in the header of a mail
_ATOM = r"[^@\s\x00-\x1f<>\"'()\[\],;:\\.]+"
_EMAIL = re.compile(rf"{_ATOM}(\.{_ATOM})*@{_ATOM}(\.{_ATOM})+")
# one character may become eighteen in comparable form
_LONGEST_KEY = 200
# names of users who have left
_DELETED = re.compile(r"deleted-\d+")
# control, format (zero width), surrogate, private use, unassigned, separators of lines and paragraphs
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# letters and marks that show nothing (Unicode's Default_Ignorable_Code_Point, and Braille's blank)
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# two blanks, or a blank that looks like one, in comparable form
_BLANKS = re.compile(r"  |[^\S ]")

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

T = TypeVar("T")


class Account(NamedTuple):
    """A user with the limits that apply to it."""

    user: rows.User
    limits: AppliedLimits


class UserFields(Struct, frozen=True, kw_only=True):
    """All values of an account that are stored, besides its id, times and token version. ``limits`` changes
    the limits that the account has already: a new one has none of its own."""

    username: str
    email: str
    password_hash: str
    password_is_default: bool = False
    role: str = "user"
    subscription_type: str = "free"
    limits: LimitChanges = LimitChanges()
    is_active: bool = True


class Changes(Struct, frozen=True, kw_only=True):
    """Changes of an account; what is UNSET stays as it is."""

    username: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    password_hash: str | UnsetType = UNSET
    role: str | UnsetType = UNSET
    subscription_type: str | UnsetType = UNSET
    limits: LimitChanges = LimitChanges()
    is_active: bool | UnsetType = UNSET

    def applied_to(self, old: rows.User) -> UserFields:
        """The account's values after these changes."""
        return UserFields(
            username=_changed(old.username, self.username),
            email=_changed(old.email, self.email),
            password_hash=_changed(old.password_hash, self.password_hash),
            password_is_default=old.password_is_default and self.password_hash is UNSET,
            role=_changed(old.role, self.role),
            subscription_type=_changed(old.subscription_type, self.subscription_type),
            limits=self.limits,
            is_active=_changed(old.is_active, self.is_active),
        )


def _changed(old: T, new: T | UnsetType) -> T:
    return old if isinstance(new, UnsetType) else new


def comparable(name: str) -> str:
    """The form in which names and addresses are compared: ``Ａdmin`` and ``admin`` are the same name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def mailbox(address: str) -> str:
    """The form in which the addresses of one mailbox are the same: without regard to the case of ASCII's
    letters. Others that compare as equal may lead to another mailbox."""
    return address.translate(_LOWER)


def check_username(name: str) -> str:
    """The name without blanks around it, if it is allowed.

    Raises:
        BadRequest: its length, characters that cannot be seen, or a name such as those who have left get.
    """
    name = unicodedata.normalize("NFC", name).strip()
    if not 2 <= len(name) <= 50:
        raise BadRequest("username_length", least=2, most=50)
    if len(comparable(name)) > _LONGEST_KEY:
        raise BadRequest("username_too_long")
    if not _is_visible(name) or _BLANKS.search(comparable(name)):
        raise BadRequest("username_invisible")
    if _DELETED.fullmatch(comparable(name)):
        raise BadRequest("username_reserved", name=name)
    return name


def check_email(address: str) -> str:
    """The mail address without blanks around it, if it looks like one.

    Raises:
        BadRequest: it does not.
    """
    address = address.strip()
    if not _EMAIL.fullmatch(address) or len(address) > 254 or not _is_visible(address):
        raise BadRequest("email_invalid")
    return address


def _is_visible(text: str) -> bool:
    """Whether every character of a text can be seen: two names that look the same would let one user pass
    for the other."""
    hidden = any(unicodedata.category(character) in _INVISIBLE for character in text)
    return not hidden and not _BLANK.search(text)


def find(tx: Transaction, user_id: int) -> Account | None:
    return _with_limits(tx, tx.one(tx.q.users.get_by_id, user_id=user_id))


def find_by_name(tx: Transaction, username_key: str) -> Account | None:
    """The account of a name in comparable form."""
    return _with_limits(tx, tx.one(tx.q.users.get_for_login, username_key=username_key))


def get(tx: Transaction, user_id: int) -> Account:
    """The account of a user.

    Raises:
        NotFound: no such account.
    """
    account = find(tx, user_id)
    if account is None:
        raise NotFound("user_not_found")
    return account


def get_own(tx: Transaction, user_id: int) -> Account:
    """The account of the caller.

    Raises:
        Unauthorized: it was removed since its session or token was verified.
    """
    account = find(tx, user_id)
    if account is None:
        raise Unauthorized("session_ended")
    return account


def _with_limits(tx: Transaction, user: rows.User | None) -> Account | None:
    return Account(user, tx.all(tx.q.limits.get_of_user, user_id=user.id)[0]) if user else None


def list_with_limits(
    tx: Transaction, found: Sequence[rows.ListedUser]
) -> list[tuple[rows.ListedUser, AppliedLimits]]:
    """Each of the users with the limits that apply to it."""
    ids = msgspec.json.encode([user.id for user in found]).decode()
    limits = {row.user_id: row for row in tx.all(tx.q.limits.list_of_users, user_ids=ids)}
    return [(user, limits[user.id]) for user in found]


def insert(tx: Transaction, user: UserFields, now: int) -> Account:
    """Insert an account. If the name or the mail address is taken, the database refuses it
    (``users_username``)."""
    (inserted,) = tx.all(tx.q.users.insert, **_columns(user), now=now)
    _store_limits(tx, inserted.id, user)
    return get(tx, inserted.id)


def create(tx: Transaction, fields: UserFields, actor: Actor, now: int) -> Account:
    """Insert an account that an administrator or the operator makes."""
    account = insert(tx, fields, now)
    user = account.user
    audit.record(
        tx,
        actor,
        "user.created",
        now,
        f"user {user.id}",
        username=user.username,
        role=user.role,
        subscription_type=user.subscription_type,
        usage_limit=account.limits.usage_limit,
    )
    return account


def update(tx: Transaction, user_id: int, changes: Changes, actor: Actor, now: int) -> Account:
    """Change an account, and record what changed in the audit log. A new password, a new role or disabling
    the account ends its sessions and access tokens.

    Raises:
        NotFound: no such account.
        Unauthorized: the actor's own was removed meanwhile.
        BadRequest: the acting administrator, or the last administrator, would lose access.
    """
    before = get_own(tx, user_id) if user_id == actor.user_id else get(tx, user_id)
    old, new = before.user, changes.applied_to(before.user)
    _check_loss(tx, old, new, actor.user_id)
    password_changed = changes.password_hash is not UNSET
    ends_tokens = password_changed or new.role != old.role or (old.is_active and not new.is_active)
    tx.run(
        tx.q.users.update,
        user_id=user_id,
        **_columns(new),
        token_version=old.token_version + ends_tokens,
        now=now,
    )
    _store_limits(tx, user_id, new)
    if ends_tokens:
        tx.run(tx.q.sessions.delete_all_of_user, user_id=user_id)
    account = get(tx, user_id)
    _record(tx, actor, before, account, password_changed=password_changed, now=now)
    return account


def _columns(user: UserFields) -> dict[str, object]:
    """The parameters of the statements ``insert`` and ``update``."""
    return {
        "username": user.username,
        "username_key": comparable(user.username),
        "email": user.email,
        "email_key": comparable(user.email),
        "password_hash": user.password_hash,
        "password_is_default": user.password_is_default,
        "role": user.role,
        "subscription_type": user.subscription_type,
        "is_active": user.is_active,
    }


def _store_limits(tx: Transaction, user_id: int, user: UserFields) -> None:
    """Store the user's own limits. A limit equal to the subscription's is not the user's own (the page sends
    back what it was shown) and changes with the subscription."""
    usual = tx.all(tx.q.limits.get_of_subscription, name=user.subscription_type)[0]
    own = user.limits.applied_to(tx.all(tx.q.limits.get_own_of_user, user_id=user_id)[0])
    limits = {
        name: None if value == getattr(usual, name) else value for name, value in structs.asdict(own).items()
    }
    tx.run(tx.q.limits.update_of_user, user_id=user_id, **limits)


def _record(
    tx: Transaction, actor: Actor, old: Account, new: Account, *, password_changed: bool, now: int
) -> None:
    """Record each kind of change as an event of its own, so that the log can be searched for it."""
    is_active = audit.differences(old.user, new.user, ("is_active",))
    events = {
        "user.updated": audit.differences(old.user, new.user, ("username", "email")),
        "user.role": audit.differences(old.user, new.user, ("role",)),
        "user.limits": audit.differences(old.user, new.user, ("subscription_type",))
        | audit.differences(old.limits, new.limits, AppliedLimits.__struct_fields__),
        "user.enabled" if new.user.is_active else "user.disabled": is_active,
    }
    for event, details in events.items():
        if details:
            audit.record(tx, actor, event, now, f"user {new.user.id}", **details)
    if password_changed:
        audit.record(tx, actor, "user.password", now, f"user {new.user.id}")


def _check_loss(tx: Transaction, old: rows.User, new: UserFields, acting_id: int | None) -> None:
    """Administrators cannot remove their own access, and one administrator always remains."""
    disabled = old.is_active and not new.is_active
    loses = old.role == "admin" and old.is_active and (new.role != "admin" or disabled)
    if loses and old.id == acting_id:
        raise BadRequest("own_rights_removal")
    if loses and tx.all(tx.q.users.count_other_admins, user_id=old.id)[0].count == 0:
        raise BadRequest("last_admin")
    if old.id == acting_id and disabled:
        raise BadRequest("own_account_disabling")
