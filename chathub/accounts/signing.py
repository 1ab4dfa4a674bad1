"""Signing and reading the tokens of logins.

A token is a JWT (RFC 7519, HS256) with ``sub``, ``role``, ``exp``, ``iat``, ``jti`` and ``ver``. The
front end reads its payload with ``atob``, which is not base64url: the claims are plain ASCII without
``>``, ``?`` and ``~``, so that neither ``-`` nor ``_`` can occur in that part.
"""

from typing import Any

from msgspec import Struct

from chathub.errors import Unauthorized
from chathub.secret import TokenKey

LONGEST_TOKEN = 2048
_CLAIMS = ["sub", "role", "exp", "iat", "jti", "ver"]


class Claims(Struct, frozen=True):
    """What a token says; ``good_until`` (Unix time) is its end, or that of the key that signed it."""

    user_id: int
    version: int
    jti: str
    good_until: float


class Signer:
    """Signs with the first key and reads what any of them signed, each as long as it is good."""

    def __init__(self, *keys: TokenKey) -> None:
        self._keys = keys

    def sign(self, user_id: int, role: str, version: int, jti: str, *, issued: int, expires: int) -> str:
        # imported when it is needed: it takes 20 to 30 ms of every start
        import jwt

        claims = {"sub": str(user_id), "role": role, "iat": issued, "exp": expires, "jti": jti}
        return jwt.encode({**claims, "ver": version}, self._keys[0].key, algorithm="HS256")

    def read(self, token: str, now: float) -> Claims:
        """Raises:
        Unauthorized: it is forged or expired.
        """
        import jwt

        if len(token) > LONGEST_TOKEN:
            raise Unauthorized("无效的认证令牌")
        try:
            payload, key = self._payload(token)
            expires = payload["exp"]
            claims = Claims(
                int(payload["sub"]), int(payload["ver"]), str(payload["jti"]), min(expires, key.good_until)
            )
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthorized("无效的认证令牌") from None
        if not isinstance(expires, int) or claims.good_until <= now:
            raise Unauthorized("登录已过期，请重新登录")
        return claims

    def _payload(self, token: str) -> tuple[dict[str, Any], TokenKey]:
        """The payload and the key that it was signed with."""
        import jwt

        # expiry is checked against our own clock
        options: Any = {"require": _CLAIMS, "verify_exp": False, "verify_iat": False}
        for key in self._keys:
            try:
                return jwt.decode(token, key.key, algorithms=["HS256"], options=options), key
            except jwt.InvalidSignatureError:
                continue
        raise jwt.InvalidSignatureError
