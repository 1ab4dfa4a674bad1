"""Who makes a request: the user with the rights of its session or access token, and the client's details."""

from typing import NamedTuple

from msgspec import Struct

from chathub.config_values import Network
from chathub.security.audit import Actor


class Caller(Struct, frozen=True):
    """The user of a request, verified until ``expires_at`` (Unix time). ``jti`` is the id of its session
    token; it is empty for an access token (``token_id``) and for the demo token.

    ``opens_api``, ``models`` and ``networks`` are the rights of an access token; empty means any.
    """

    id: int
    username: str
    role: str
    jti: str = ""
    expires_at: float = 0.0
    token_id: int | None = None
    opens_api: bool = True
    models: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def may_use(self, model_name: str) -> bool:
        """Whether the caller's access token is for a model of that name."""
        return not self.models or model_name in self.models

    @property
    def administrates(self) -> bool:
        """Whether the caller may do what only administrators may; with an access token it may not."""
        return self.is_admin and self.token_id is None


class ClientInfo(NamedTuple):
    """Who starts or renews a session, and the client's User-Agent."""

    actor: Actor
    client: str
