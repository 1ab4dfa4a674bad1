"""Requests to a provider about itself: whether an API key works, and which models there are."""

from collections.abc import Sequence
from functools import partial

from aiohttp import web

from chathub.app_keys import (
    CALLER,
    CATALOG,
    CLIENT,
    CLOCK,
    COOLDOWNS,
    DB,
    OUTPUT_RATES,
    REPLY_COUNTS,
    RESOLVER,
    SETTLEMENT_QUEUE,
)
from chathub.clock import iso
from chathub.errors import BadRequest, ChatHubError, Unavailable, UpstreamFailed
from chathub.formats.events import Failure
from chathub.formats.failures.sentences import words_for
from chathub.formats.listed_model import ListedModel
from chathub.formats.messages import Endpoint
from chathub.gateway import probe
from chathub.handlers.http import actor, body, json_response, row_id, said
from chathub.providers import key_pool, model_import
from chathub.providers.chat_model import ChatModel
from chathub.providers.key_pool import KeyFailure
from chathub.schemas import api_keys, models
from chathub.schemas.models import ModelImport
from chathub.sentences import Reason


async def test_key(request: web.Request) -> web.Response:
    """Try an API key with the cheapest request, or with the model that the body names. One that works is
    usable again, whatever failed before."""
    db, caller, now = request.app[DB], request[CALLER], request.app[CLOCK].now()
    wanted = (await body(request, api_keys.KeyTest)).model
    endpoint, provider_slug = await request.app[RESOLVER].endpoint_of_key(caller, row_id(request, "key_id"))
    assert endpoint.key_id is not None
    models = request.app[CATALOG].chat_models_of(provider_slug, wanted)
    tested, failure = await _try_key(request, endpoint, models, needs_chat=wanted is not None)
    if failure is None:
        await db.write(key_pool.reset_after_test, endpoint.key_id, wanted and tested)
        request.app[COOLDOWNS].forget(endpoint.key_id)
        return json_response(api_keys.ApiKeyWorks(message=said(request, "api_key_works"), tested_at=iso(now)))
    if failure.kind == "busy":
        # it says nothing about the API key
        raise _failed(failure, endpoint)
    reason = words_for(failure, endpoint, [endpoint.api_key])
    await db.write(key_pool.record_failure, KeyFailure(endpoint.key_id, tested, failure, reason), now)
    # what ChatHub found on the way says nothing of the API key
    code = "api_key_test_failed" if failure.reason is None else "api_key_test_impossible"
    if failure.reason is None and failure.status:
        reason = Reason("http_answer", {"status": failure.status, "reason": reason})
    return json_response(api_keys.ApiKeyFails(message=said(request, code, reason=reason), tested_at=iso(now)))


async def _try_key(
    request: web.Request, endpoint: Endpoint, chat_models: Sequence[ChatModel], *, needs_chat: bool
) -> tuple[str, Failure | None]:
    """Send a request to the provider, and settle what it used; also if the client leaves meanwhile. Gives the
    model that was tried (empty: none)."""
    user_id, queue = request[CALLER].id, request.app[SETTLEMENT_QUEUE]
    queue.check()
    meter = probe.new_meter()
    try:
        failure = await probe.try_key(
            request.app[CLIENT], endpoint, chat_models, meter, needs_chat=needs_chat
        )
        return meter.model.name if meter.model else "", failure
    finally:
        rates, month = request.app[OUTPUT_RATES], request.app[CLOCK].month()
        probe.count(request.app[REPLY_COUNTS], meter, rates)
        settle = partial(probe.settle, meter=meter, rates=rates, user_id=user_id, month=month)
        await queue.store("probe", settle)


async def list_models(request: web.Request) -> web.Response:
    known = request.app[CATALOG].known_to(row_id(request, "provider_id"))
    offered = [
        models.OfferedModel(id=model.name, imported=model.name in known)
        for model in await _list_offered(request)
    ]
    return json_response(models.OfferedModelList(data=offered))


async def import_models(request: web.Request) -> web.Response:
    names = dict.fromkeys((await body(request, ModelImport)).models)
    offered = {model.name: model for model in await _list_offered(request)}
    if missing := [name for name in names if name not in offered]:
        raise BadRequest("models_not_offered", models=[*missing[:5]])
    chosen = [offered[name] for name in names]
    provider_id, now = row_id(request, "provider_id"), request.app[CLOCK].now()
    added = await request.app[DB].write(model_import.import_models, provider_id, chosen, actor(request), now)
    await request.app[CATALOG].reload()
    return json_response(
        models.ModelsImported(message=said(request, "models_imported", count=len(added)), imported=added)
    )


async def _list_offered(request: web.Request) -> list[ListedModel]:
    """The models in the provider's own list, read with an API key that the administrator may use."""
    provider_id = row_id(request, "provider_id")
    endpoint = request.app[RESOLVER].endpoint_of_provider(request[CALLER], provider_id)
    offered = await probe.list_models(request.app[CLIENT], endpoint)
    if isinstance(offered, Failure):
        raise _failed(offered, endpoint)
    return offered


def _failed(failure: Failure, endpoint: Endpoint) -> ChatHubError:
    if failure.kind == "busy":
        return Unavailable("server_busy", retry_after=failure.retry_after)
    return UpstreamFailed("model_list_missing", reason=words_for(failure, endpoint, [endpoint.api_key]))
