"""The list of models for programs, in OpenAI's format, and for Anthropic's clients in theirs."""

from aiohttp import web
from msgspec.structs import replace

from chathub.app_keys import AVAILABILITY, CALLER, CATALOG
from chathub.database.rows.models import Model
from chathub.errors import BadRequest, NotFound, UnknownModel
from chathub.formats import anthropic, openai
from chathub.formats.offered_model import OfferedModel
from chathub.handlers.http import query, raw, speaks_anthropic
from chathub.providers import entries
from chathub.providers.aliases import is_wildcard
from chathub.providers.catalog import CHAT_TYPES
from chathub.providers.known_models import known_of
from chathub.schemas.models import OfferedFilter, OfferedPage


async def list_models(request: web.Request) -> web.Response:
    models = await _offered(request, everything=query(request, OfferedFilter).all)
    if not speaks_anthropic(request):
        return raw(openai.encode_models(models))
    wanted = query(request, OfferedPage)
    if wanted.after_id and wanted.before_id:
        raise BadRequest("cursors_exclusive")
    page = anthropic.page_of(models, wanted.limit, wanted.after_id, wanted.before_id)
    if page is None:
        raise BadRequest("cursor_unknown", id=(wanted.after_id or wanted.before_id or "")[:200])
    return raw(anthropic.encode_page(page))


async def get_model(request: web.Request) -> web.Response:
    name = request.match_info["model"]
    try:
        model = _requested(request, name)
    except BadRequest:
        raise NotFound("unknown_model", model=name) from None
    encode = anthropic.encode_model if speaks_anthropic(request) else openai.encode_model
    return raw(encode(model))


def _requested(request: web.Request, name: str) -> OfferedModel:
    """The model that requests for a name are for, whether an API key can be used for it or not. The name may
    be one that a wildcard matches, or that of a well-known model which is not listed.

    Raises:
        BadRequest: there is none, it is disabled, or the caller's access token is not for it.
    """
    catalog = request.app[CATALOG]
    entry, row = catalog.entry(name), catalog.row_for(name)
    if not entries.may_use(request[CALLER], entry) or (
        row and not (row.is_active and row.provider_is_active)
    ):
        raise UnknownModel("unknown_model", model=name)
    if row is not None:
        return replace(_offer(row), id=entry.name)
    model, known = catalog.get(name), known_of(name)
    added = catalog.provider(model.provider_id).created_at
    return OfferedModel(name, name, model.provider_slug, added, known.context_window, known.max_tokens)


async def _offered(request: web.Request, *, everything: bool) -> list[OfferedModel]:
    """The models that the caller can use, or all active ones that its access token is for; those for chats
    first."""
    caller = request[CALLER]
    # a wildcard is no name to request
    rows = [row for row in request.app[CATALOG].active_rows() if not is_wildcard(row)]
    if everything:
        rows = [row for row in rows if caller.may_use(row.model_name)]
    else:
        available = await request.app[AVAILABILITY].available_to(caller)
        rows = [row for row in rows if row.model_name in available]
    return [_offer(row) for row in sorted(rows, key=lambda row: row.model_type not in CHAT_TYPES)]


def _offer(row: Model) -> OfferedModel:
    return OfferedModel(
        id=row.model_name,
        name=row.display_name,
        owned_by=row.provider_slug,
        created_at=row.created_at,
        context_window=row.context_window,
        max_output_tokens=row.max_tokens if row.model_type in CHAT_TYPES else None,
    )
