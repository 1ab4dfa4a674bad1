"""Personal access tokens: what programs sign in with, instead of a person's login.

A token is random and long; the database keeps only its SHA-256, which for a random secret is enough.
"""

import hashlib
import ipaddress
import json
import secrets
import string
from typing import Any

from chathub.config_values import Network
from chathub.database.connection import Transaction
from chathub.database.rows.personal_tokens import AccessToken, VerifiedToken
from chathub.errors import BadRequest, NotFound
from chathub.security import audit
from chathub.security.audit import Actor

PREFIX = "sk-hub-"
_ALPHABET = string.ascii_letters + string.digits
_MOST = 100


def new_token() -> str:
    """``sk-hub-`` and 40 random letters and digits: 238 bits."""
    return PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(40))


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def hint_of(token: str) -> str:
    """What a listing shows: ``sk-hub-ab…wxyz``."""
    return f"{token[:9]}…{token[-4:]}"


def check_networks(words: list[str]) -> list[str]:
    """The networks in their usual form.

    Raises:
        BadRequest: one is neither an address nor a network.
    """
    try:
        return [str(ipaddress.ip_network(word.strip(), strict=False)) for word in words]
    except ValueError:
        raise BadRequest("字段 allowed_networks 含有无效的地址或网段") from None


def networks_of(row: VerifiedToken) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(word) for word in json.loads(row.allowed_networks))


def insert(
    tx: Transaction, user_id: int, token: str, fields: dict[str, Any], who: Actor, now: int
) -> AccessToken:
    """Store a new token of the user's.

    Raises:
        BadRequest: the user has too many already.
    """
    if len(tx.all(tx.q.personal_tokens.list_own, user_id=user_id, month="")) >= _MOST:
        raise BadRequest(f"访问令牌不能超过 {_MOST} 个")
    row = tx.one(
        tx.q.personal_tokens.insert,
        user_id=user_id,
        digest=digest_of(token),
        hint=hint_of(token),
        now=now,
        **fields,
    )
    assert row is not None
    audit.record(
        tx,
        who,
        "token.created",
        now,
        f"token {row.id}",
        name=row.name,
        hint=row.hint,
        # a number in all entries
        opens_api=int(row.opens_api),
        monthly_limit=row.monthly_limit,
    )
    return row


def delete(tx: Transaction, token_id: int, user_id: int, who: Actor, now: int) -> None:
    """Raises:
    NotFound: the user has no such token.
    """
    if not tx.run(tx.q.personal_tokens.delete, token_id=token_id, user_id=user_id):
        raise NotFound("访问令牌不存在")
    audit.record(tx, who, "token.deleted", now, f"token {token_id}")
