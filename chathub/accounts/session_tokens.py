"""Session tokens: signing and reading them.

A session token is a JWT (RFC 7519, HS256) with ``sub``, ``role``, ``exp``, ``iat``, ``jti`` and ``ver``. The
front end reads its payload with ``atob``, which is not base64url: the claims are plain ASCII without
``>``, ``?`` and ``~``, so that neither ``-`` nor ``_`` can occur in that part.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from chathub.errors import Unauthorized
from chathub.security.token_keys import TokenKey

LONGEST_TOKEN = 2048
_CLAIMS = ["sub", "role", "exp", "iat", "jti", "ver"]


class Claims(Struct, frozen=True):
    """What a token says. ``good_until`` (Unix time) is when the token, or the key that signed it, expires."""

    user_id: int
    version: int
    jti: str
    good_until: float


class _Payload(Struct):
    sub: Annotated[str, Meta(pattern=r"^[0-9]{1,18}\Z")]
    exp: int
    jti: str
    ver: int


class Signer:
    """Signs with the first key, and reads what any of the keys signed until that key expires."""

    def __init__(self, *keys: TokenKey) -> None:
        self._keys = keys

    def sign(self, user_id: int, role: str, version: int, jti: str, *, issued: int, expires: int) -> str:
        # imported here: the import takes 20 to 30 ms, which not every start needs
        import jwt

        claims = {"sub": str(user_id), "role": role, "iat": issued, "exp": expires, "jti": jti}
        return jwt.encode({**claims, "ver": version}, self._keys[0].key, algorithm="HS256")

    def read(self, token: str, now: float) -> Claims:
        """Verify a session token and read its claims; ``now`` in seconds.

        Raises:
            Unauthorized: the token is forged or expired.
        """
        import jwt

        if len(token) > LONGEST_TOKEN:
            raise Unauthorized("token_invalid")
        try:
            read, key = self._payload(token)
            payload = msgspec.convert(read, _Payload)
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
            raise Unauthorized("token_invalid") from None
        good_until = min(payload.exp, key.good_until)
        if payload.exp <= now or not key.is_good(now):
            raise Unauthorized("session_expired")
        return Claims(int(payload.sub), payload.ver, payload.jti, good_until)

    def _payload(self, token: str) -> tuple[dict[str, Any], TokenKey]:
        """The payload, and the key that signed it."""
        import jwt

        # expiry is checked against our own clock
        options: Any = {"require": _CLAIMS, "verify_exp": False, "verify_iat": False}
        for key in self._keys:
            try:
                return jwt.decode(token, key.key, algorithms=["HS256"], options=options), key
            except jwt.InvalidSignatureError:
                continue
        raise jwt.InvalidSignatureError
