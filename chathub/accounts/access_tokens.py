"""Access tokens: credentials for programs, which a user makes and deletes.

An access token is random and long. The database keeps only its SHA-256, which is enough for a random secret.
"""

import hashlib
import ipaddress
import secrets
import string

import msgspec
from msgspec import Struct, structs

from chathub.clock import DAY
from chathub.config_values import Network
from chathub.database.rows.limits import NO_LIMITS, LimitChanges, OwnLimits
from chathub.database.rows.personal_tokens import AccessToken, VerifiedToken
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, NotFound
from chathub.schemas import tokens as schemas
from chathub.schemas.problems import field_name
from chathub.security import audit
from chathub.security.audit import Actor

PREFIX = "sk-hub-"
_ALPHABET = string.ascii_letters + string.digits
# access tokens of one user
_MOST = 100


class NewToken(Struct, frozen=True, kw_only=True):
    """What its owner sets of an access token. An empty list allows all."""

    name: str
    opens_api: bool
    allowed_models: list[str]
    allowed_networks: list[str]
    limits: LimitChanges
    expires_at: int | None


def new_token() -> str:
    """``sk-hub-`` and 40 random letters and digits: 238 bits."""
    return PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(40))


def digest_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def hint_of(token: str) -> str:
    """What a listing shows: ``sk-hub-ab…wxyz``."""
    return f"{token[:9]}…{token[-4:]}"


def check_networks(words: list[str]) -> list[str]:
    """The networks in canonical form.

    Raises:
        BadRequest: a word is neither an address nor a network.
    """
    try:
        return [str(ipaddress.ip_network(word.strip(), strict=False)) for word in words]
    except ValueError:
        raise BadRequest("networks_invalid") from None


def fields_of(new: schemas.NewToken, now: int) -> NewToken:
    """The fields of a new access token; ``now`` in milliseconds.

    Raises:
        BadRequest: the name is empty, or a network is invalid.
    """
    if not new.name.strip():
        raise BadRequest("field_empty", where=field_name("name"))
    return NewToken(
        name=new.name.strip(),
        opens_api=bool(new.opens_api),
        allowed_models=new.allowed_models or [],
        allowed_networks=check_networks(new.allowed_networks or []),
        limits=new.limit_changes(),
        expires_at=now + new.expires_in_days * DAY if new.expires_in_days else None,
    )


def models_of(row: VerifiedToken) -> tuple[str, ...]:
    return msgspec.json.decode(row.allowed_models, type=tuple[str, ...])


def networks_of(row: VerifiedToken) -> tuple[Network, ...]:
    words = msgspec.json.decode(row.allowed_networks, type=list[str])
    return tuple(ipaddress.ip_network(word) for word in words)


def insert(
    tx: Transaction, user_id: int, token: str, new: NewToken, actor: Actor, now: int
) -> tuple[AccessToken, OwnLimits]:
    """Store a new access token of a user.

    Raises:
        BadRequest: the user has too many already.
    """
    if len(tx.all(tx.q.personal_tokens.list_own, user_id=user_id, month="")) >= _MOST:
        raise BadRequest("too_many_access_tokens", most=_MOST)
    (row,) = tx.all(
        tx.q.personal_tokens.insert,
        user_id=user_id,
        name=new.name,
        digest=digest_of(token),
        hint=hint_of(token),
        opens_api=new.opens_api,
        allowed_models=msgspec.json.encode(new.allowed_models).decode(),
        allowed_networks=msgspec.json.encode(new.allowed_networks).decode(),
        expires_at=new.expires_at,
        now=now,
    )
    limits = new.limits.applied_to(NO_LIMITS)
    tx.run(tx.q.limits.update_of_token, token_id=row.id, **structs.asdict(limits))
    audit.record(
        tx,
        actor,
        "token.created",
        now,
        f"token {row.id}",
        name=row.name,
        hint=row.hint,
        # 0 or 1, as in the entries that exist
        opens_api=int(row.opens_api),
        monthly_limit=limits.usage_limit,
        # of a token that the operator made for somebody
        **({} if actor.user_id == user_id else {"owner_id": user_id}),
    )
    return row, limits


def delete(tx: Transaction, token_id: int, user_id: int, actor: Actor, now: int) -> None:
    """Delete one of the user's access tokens.

    Raises:
        NotFound: the user has no such access token.
    """
    if not tx.run(tx.q.personal_tokens.delete, token_id=token_id, user_id=user_id):
        raise NotFound("access_token_not_found")
    audit.record(tx, actor, "token.deleted", now, f"token {token_id}")
