"""Wires everything together, with ``lifetime``: the only two modules that know all others."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from chathub import app_keys, cors, lifetime, middlewares
from chathub.clock import Clock
from chathub.config import Config
from chathub.disk import Disk
from chathub.documents import Documents
from chathub.frontend.files import FrontEnd
from chathub.frontend.folder import check as check_frontend
from chathub.handlers.pages import pages
from chathub.handlers.response_writer import sending
from chathub.limits.reply_memory import ReplyMemory
from chathub.limits.request_memory import RequestMemory
from chathub.limits.response_memory import ResponseMemory
from chathub.limits.streams import StreamLimit
from chathub.limits.uploads import Uploads
from chathub.metrics.metrics import Metrics
from chathub.offload import Offload
from chathub.routes import ROUTES
from chathub.text import load_codecs

if TYPE_CHECKING:
    from chathub.upstream.local_model.weights import Weights

log = logging.getLogger("chathub")

# around every handler, the outermost first
_MIDDLEWARES = (
    middlewares.counting,
    middlewares.errors,
    middlewares.hosts,
    cors.preflights,
    sending,
    middlewares.bodies,
    middlewares.authentication,
    pages,
)
# a part of a path, which matches everything but a slash: braces too, unlike aiohttp's own pattern
_PART = re.compile(r"\{(\w+)\}")


def create_app(
    config: Config,
    *,
    clock: Clock | None = None,
    local: Weights | None = None,
    free_disk: Callable[[Path], int] | None = None,
) -> web.Application:
    """The application. It opens its database and connections when it starts, and reads no environment
    variable.

    ``local`` are the weights of the built-in model, already on disk; ``free_disk`` gives the free bytes of a
    folder (None: as the system says).
    """
    load_codecs()
    app = web.Application(middlewares=_MIDDLEWARES)
    app[app_keys.CONFIG] = config
    app[app_keys.CLOCK] = clock or Clock(zone=config.timezone, steady=time.monotonic)
    app[app_keys.DISK] = Disk(config.database.parent, config.free_bytes, free_disk)
    app[app_keys.STREAM_LIMIT] = StreamLimit(config.streams_per_user)
    app[app_keys.REQUEST_MEMORY] = RequestMemory(config.body_bytes)
    app[app_keys.UPLOADS] = Uploads(config.database.parent, app[app_keys.DISK], config.upload_bytes)
    app[app_keys.OFFLOAD] = Offload()
    app[app_keys.DOCUMENTS] = Documents()
    app[app_keys.RESPONSE_MEMORY] = ResponseMemory()
    app[app_keys.REPLY_MEMORY] = ReplyMemory()
    app[app_keys.METRICS] = Metrics()
    if config.frontend is not None:
        app[app_keys.FRONTEND] = _frontend(config.frontend, config.private_places)
    app[app_keys.ACCESS] = {route.handler: route.access for route in ROUTES}
    for route in ROUTES:
        app.router.add_route(route.method, _PART.sub(r"{\1:[^/]+}", route.path), route.handler)
    cors.allow(app, config.cors_origins)
    app.on_response_prepare.append(middlewares.add_headers)
    app.cleanup_ctx.append(lifetime.database)
    app.cleanup_ctx.append(partial(lifetime.providers, local=local))
    app.cleanup_ctx.append(lifetime.generation)
    app.cleanup_ctx.append(lifetime.upkeep)
    app.on_shutdown.append(lifetime.end_replies)
    app.on_cleanup.append(lifetime.end_threads)
    return app


def _frontend(folder: Path, private: Sequence[Path]) -> FrontEnd:
    """The front end of a folder.

    Raises:
        StartError: it has no page, or a private place is in it.
    """
    if hidden := check_frontend(folder, private):
        log.warning("%s of the front end cannot be reached: these names are the API's", ", ".join(hidden))
    return FrontEnd(folder.absolute())
