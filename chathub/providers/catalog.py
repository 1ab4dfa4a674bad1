"""The providers and models as a snapshot in memory, replaced after each change by an administrator.

Chats and the public model list read it; nothing here holds a key.
"""

from dataclasses import dataclass, field, replace

import msgspec

from chathub.database.database import Database
from chathub.database.transaction import Row, Transaction
from chathub.errors import BadRequest, NotFound, UnknownModel
from chathub.schemas import responses
from chathub.schemas.requests import ModelFilter

LOCAL = "local"
# for models that are not in the table: how a well-known name tells its provider
_PREFIXES = (
    (("gpt-", "chatgpt-", "o1", "o3", "o4"), "openai"),
    (("claude-",), "anthropic"),
    (("gemini-",), "google"),
    (("deepseek-",), "deepseek"),
    (("qwen", "qwq-"), "alibaba"),
    (("glm-",), "zhipu"),
    (("moonshot-", "kimi-"), "moonshot"),
    (("doubao-",), "doubao"),
    (("ernie-",), "baidu"),
)
_DEFAULT_WINDOW = 32_768
_CHAT_TYPES = ("chat", "completion")
_OFFERED = (*_CHAT_TYPES, "embedding")


@dataclass(frozen=True)
class ChatModel:
    """A model that may be chatted with, and its provider. Tokens; prices in millionths per 1,000 tokens.

    ``allow_extras``: the body of a gateway request may choose another model or a dearer service, although
    its caller is limited to some models or to a cost budget.
    """

    name: str
    provider_id: int
    provider_slug: str
    provider_name: str
    base_url: str
    needs_key: bool
    wire_format: str = "openai"
    max_tokens: int | None = None
    context_window: int = _DEFAULT_WINDOW
    supports_streaming: bool = True
    input_price: int = 0
    output_price: int = 0
    # what nobody listed is not known to be unable
    supports_vision: bool = True
    supports_tools: bool = True
    fallback_model: str = ""
    allow_extras: bool = False


@dataclass(frozen=True)
class Snapshot:
    providers: dict[str, Row] = field(default_factory=dict)
    models: dict[str, Row] = field(default_factory=dict)
    listing: tuple[tuple[Row, responses.Model], ...] = ()
    all_models: bytes = b"[]"


class Catalog:
    """The current snapshot; ``reload`` after every commit that changes providers or models."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._now = Snapshot()

    async def reload(self) -> None:
        self._now = await self._db.read(_load)

    def list_models(self, wanted: ModelFilter) -> bytes:
        """The models as a JSON array; the usual request, for all of them, is answered from memory."""
        if not wanted.active_only and wanted.provider is None and wanted.type is None:
            return self._now.all_models
        chosen = [
            model
            for row, model in self._now.listing
            if (not wanted.active_only or (row["is_active"] and row["provider_is_active"]))
            and wanted.provider in (None, row["provider_key"])
            and wanted.type in (None, row["model_type"])
        ]
        return msgspec.json.encode(chosen)

    def names(self) -> set[str]:
        return {row["model_name"] for row, _ in self._now.listing}

    def chat_models_of(self, provider_slug: str) -> list[ChatModel]:
        """The models of a provider that can be chatted with."""
        provider = self._now.providers[provider_slug]
        rows = (row for row, _ in self._now.listing if row["provider_key"] == provider_slug)
        return [_model(row["model_name"], provider, row) for row in rows if row["model_type"] in _CHAT_TYPES]

    def provider(self, provider_id: int) -> Row:
        """A provider's row.

        Raises:
            NotFound: there is none of that id.
        """
        for row in self._now.providers.values():
            if row["id"] == provider_id:
                return row
        raise NotFound("提供商不存在")

    def offered(self) -> list[tuple[str, int, str]]:
        """Name, time of creation (Unix seconds) and provider of the models that programs may ask for."""
        return [
            (row["model_name"], row["created_at"] // 1000, row["provider_key"])
            for row, _ in self._now.listing
            if row["is_active"] and row["provider_is_active"] and row["model_type"] in _OFFERED
        ]

    def find(self, name: str, kinds: tuple[str, ...] = _CHAT_TYPES) -> ChatModel:
        """The model of that name, or of a well-known family that a provider serves.

        Raises:
            BadRequest: unknown, inactive, or not a model to chat with; the sentence says which.
        """
        snapshot = self._now
        row = snapshot.models.get(name) or snapshot.models.get(name.lower())
        if row is None:
            return self._find_by_prefix(name)
        if not row["is_active"]:
            raise BadRequest(f"模型 {name} 已停用，请选择其他模型")
        if row["model_type"] not in kinds:
            what = "对话模型，不能用于聊天" if kinds == _CHAT_TYPES else "向量模型"
            raise BadRequest(f"模型 {name} 不是{what}")
        return _model(row["model_name"], self._active(row["provider_key"], name), row)

    def _find_by_prefix(self, name: str) -> ChatModel:
        lower = name.lower()
        # a name with a slash belongs to a reseller ("Qwen/…"), never to the family's own provider
        key = next((key for prefixes, key in _PREFIXES if lower.startswith(prefixes) and "/" not in name), "")
        if key not in self._now.providers:
            raise UnknownModel(f"未知的模型：{name}，请先在模型管理中添加")
        relative = self._relative(key, lower)
        if relative is None:
            return _model(name, self._active(key, name))
        if not relative["is_active"]:
            raise BadRequest(f"模型 {name} 已停用，请选择其他模型")
        return _model(name, self._active(key, name), relative)

    def _relative(self, key: str, name: str) -> Row | None:
        """The model in the table that ``gpt-4o-2024-08-06`` is a version of: it shares price and limits,
        and is disabled along with it."""
        rows = (row for row, _ in self._now.listing if row["provider_key"] == key)
        versions = [row for row in rows if name.startswith(row["model_name"].lower() + "-")]
        return max(versions, key=lambda row: len(row["model_name"]), default=None)

    def _active(self, key: str, model: str) -> Row:
        provider = self._now.providers[key]
        if not provider["is_active"]:
            raise BadRequest(f"模型 {model} 的提供商 {provider['display_name']} 已停用")
        return provider


def provider_as_model(provider: Row) -> ChatModel:
    """A provider without any model in mind."""
    return _model("", provider)


def _model(name: str, provider: Row, row: Row | None = None) -> ChatModel:
    model = ChatModel(
        name=name,
        provider_id=provider["id"],
        provider_slug=provider["provider_key"],
        provider_name=provider["display_name"],
        base_url=provider["default_base_url"],
        needs_key=bool(provider["needs_key"]),
        wire_format=provider["protocol"],
    )
    if row is None:
        return model
    return replace(
        model,
        max_tokens=row["max_tokens"],
        context_window=row["context_window"] or max(_DEFAULT_WINDOW, 4 * row["max_tokens"]),
        supports_streaming=bool(row["supports_streaming"]),
        input_price=row["input_price"],
        output_price=row["output_price"],
        supports_vision=bool(row["supports_vision"]),
        supports_tools=bool(row["supports_function_calling"]),
        fallback_model=row["fallback_model"],
        allow_extras=bool(row["allow_extras"]),
    )


def _load(tx: Transaction) -> Snapshot:
    rows = tx.all(tx.q.models.list_all)
    listing = tuple((row, responses.Model.of(row)) for row in rows)
    models = {row["model_name"].lower(): row for row in rows}
    models |= {row["model_name"]: row for row in rows}
    return Snapshot(
        providers={row["provider_key"]: row for row in tx.all(tx.q.providers.list_all)},
        models=models,
        listing=listing,
        all_models=msgspec.json.encode([model for _, model in listing]),
    )
