"""Which model answers a request, with which keys: everything that can be refused before it is sent."""

from dataclasses import dataclass

from chathub.accounts.sessions import Caller
from chathub.catalog import LOCAL, Catalog, ChatModel
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.connection import Database, Row, Transaction
from chathub.errors import BadRequest, TooManyRequests
from chathub.upstream.routing import Endpoint
from chathub.upstream.urls import origin
from chathub.vault import Binding, Vault, VaultError


@dataclass(frozen=True)
class Plan:
    """The model that answers and the endpoints to try, in order."""

    model: ChatModel
    endpoints: tuple[Endpoint, ...]


class Planner:
    """Turns a model's name into a plan for one user."""

    def __init__(self, db: Database, catalog: Catalog, vault: Vault, clock: Clock, config: Config) -> None:
        self._db = db
        self._catalog = catalog
        self._vault = vault
        self._clock = clock
        self._config = config

    async def plan(self, caller: Caller, model_name: str) -> Plan:
        """The plan for a chat of ``caller`` with the model of that name.

        Raises:
            BadRequest: no such model, or no usable key; the sentence says which provider's key to save.
            TooManyRequests: the month's tokens are used up.
        """
        model = self._catalog.find(model_name)
        rows = await self._db.read(_look, caller.id, model.provider_id, self._clock.today()[:8] + "01")
        limit, used, keys = rows
        if not caller.is_admin and used >= limit:
            raise TooManyRequests(f"本月额度已用完：已使用 {used} / {limit} 个 token，下月初恢复")
        if model.provider_key == LOCAL:
            return Plan(model, (Endpoint(base_url="", local=True),))
        endpoints = tuple(endpoint for key in keys if (endpoint := self._endpoint(model, key)))
        if not endpoints and not model.needs_key:
            endpoints = (Endpoint(base_url=model.base_url),)
        if not endpoints:
            hint = "（提供商地址已变更，请重新输入密钥）" if keys else ""
            raise BadRequest(f"请先保存 {model.provider_name} ({model.provider_key}) 的API密钥{hint}")
        return Plan(model, endpoints)

    def _endpoint(self, model: ChatModel, row: Row) -> Endpoint | None:
        """Where a stored key may be used, or None if it may not any more."""
        base_url = row["base_url"] or model.base_url
        home = origin(base_url)
        if home != row["origin"]:
            return None
        try:
            key = self._vault.open(
                row["secret"], Binding(row["id"], row["user_id"], row["provider_id"], row["origin"])
            )
        except VaultError:
            return None
        trusted = (
            row["owner_role"] == "admin"
            or home == origin(model.base_url)
            or home.partition("://")[2].rpartition(":")[0] in self._config.upstream_allow_hosts
        )
        return Endpoint(base_url=base_url, api_key=key, trusted=trusted, key_id=row["id"])


def _look(tx: Transaction, user_id: int, provider_id: int, month: str) -> tuple[int, int, list[Row]]:
    user = tx.one(tx.q.users.get_by_id, user_id=user_id)
    used = tx.all(tx.q.usage.tokens_since, user_id=user_id, day=month)[0]["tokens"]
    keys = tx.all(tx.q.api_keys.list_usable, user_id=user_id, provider_id=provider_id)
    return (user["usage_limit"] if user else 0), used, keys
