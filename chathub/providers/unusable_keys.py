"""Why none of a model's API keys can be used now, as an error for the caller."""

from chathub.database.rows.api_keys import PooledApiKey
from chathub.errors import BadRequest, ChatHubError, ModelUnavailable, TooManyRequests
from chathub.providers.chat_model import ChatModel
from chathub.providers.key_health import KeyHealth
from chathub.sentences import Reason

_PAUSES = {"rate_limited": "api_keys_cooling", "no_credit": "api_keys_without_credit"}


def none_usable(
    model: ChatModel,
    api_keys: list[PooledApiKey],
    matching: list[PooledApiKey],
    healths: dict[int, KeyHealth],
    caller_id: int,
    now: int,
) -> ChatHubError:
    """The error where no API key can be used now. A pause that ends decides before a key that may not use
    the model, and that before one that is broken."""
    paused = [health for health in healths.values() if health.health != "broken" and health.is_paused(now)]
    if pauses := [health for health in paused if health.failure_class != "model_unavailable"]:
        return _all_cooling(model, min(pauses, key=lambda health: health.until), now)
    if paused:
        return ModelUnavailable("model_has_no_key", provider=model.provider_name, model=model.name)
    return _no_key(model, api_keys, matching, caller_id)


def _all_cooling(model: ChatModel, first: KeyHealth, now: int) -> ChatHubError:
    """The error where all API keys are cooling: until the first pause ends, and why."""
    wait = (first.until - now) / 1000
    code = _PAUSES.get(first.failure_class, "api_keys_pausing")
    return TooManyRequests(code, provider=model.provider_name, wait=wait, retry_after=wait)


def _no_key(
    model: ChatModel, api_keys: list[PooledApiKey], matching: list[PooledApiKey], caller_id: int
) -> ChatHubError:
    """The error where no API key can be used: why, and what to do. What a provider said of another user's API
    key is not shown."""
    provider = model.provider_name
    if broken := [row for row in matching if row.health == "broken"]:
        own = next((row for row in broken if row.user_id == caller_id), None)
        if own is None:
            return BadRequest("shared_api_key_refused", provider=provider)
        reason = Reason.stored(own.last_error_json, own.last_error) or ""
        return BadRequest("api_key_refused", provider=provider, reason=reason)
    if matching:
        return BadRequest("api_key_unreadable", provider=provider)
    return BadRequest("api_key_moved" if api_keys else "api_key_missing", provider=provider)
