"""``chathub serve``: the server, from its start to SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from chathub.app import create_app
from chathub.app_keys import DB, RUNNING, SETTLEMENT_QUEUE, VAULT
from chathub.commands.machine import warning_of_word_size
from chathub.config import Config, not_local
from chathub.database.opening import require_database
from chathub.database.periodic import background_tasks
from chathub.disk import make_folder
from chathub.errors import StartError
from chathub.log import Formatter
from chathub.server import heap
from chathub.server.listener import Site
from chathub.server.notify import Notifier
from chathub.server.protocol import Runner
from chathub.server.sockets import ListeningSockets

# seconds in which the server ends after the running replies
_CLEANUP = 30

if TYPE_CHECKING:
    from chathub.upstream.local_model.weights import Weights

log = logging.getLogger("chathub")


def serve(config: Config, formatter: Formatter) -> None:
    """Run the server until SIGTERM or SIGINT.

    Raises:
        StartError: it cannot start; the sentence says why.
    """
    if warning := warning_of_word_size(sys.maxsize):
        log.warning("%s", warning)
    notifier, sockets = Notifier(os.environ), ListeningSockets.inherited(os.environ)
    if sockets is not None:
        config = _at_sockets(config, sockets)
    # before the weights of a model are downloaded for a database that cannot be used
    require_database(config.database, creates=True)
    local = _local_weights(config) if config.local_model else None
    _raise_file_limit()
    _event_loop()(_run(config, local, formatter, notifier, sockets))


def _event_loop() -> Callable[[Coroutine[Any, Any, None]], Any]:
    """The function that runs the event loop: uvloop's where the extra [fast] is installed."""
    try:
        from uvloop import run
    except ImportError:
        return asyncio.run
    return partial(run)


def _local_weights(config: Config) -> Weights:
    """The built-in model's weights, downloaded if they are missing."""
    # not needed by a start without the built-in model
    from chathub.upstream.local_model import engine, weights

    assert config.local_model is not None
    if problem := engine.available():
        raise StartError(problem)
    try:
        chosen = weights.resolve(config.local_model, config.database.parent / "models")
        if chosen.source is not None:
            # beside the database, whose folder may not exist yet
            make_folder(chosen.path.parent)
        weights.fetch(chosen, weights.terminal_report)
    except weights.WeightsError as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise StartError(f"the folder of the weights cannot be made: {error}") from error
    return chosen


def _at_sockets(config: Config, sockets: ListeningSockets) -> Config:
    """The configuration with the hosts of systemd's sockets in place of the configured ones.

    Raises:
        StartError: others reach one of them, and the mode is development.
    """
    config = replace(config, hosts=tuple(each.host for each in sockets.sockets))
    if exposed := config.exposed_hosts:
        raise StartError("\n  ".join(map(not_local, exposed)))
    return config


async def _run(
    config: Config,
    local: Weights | None,
    formatter: Formatter,
    notifier: Notifier,
    sockets: ListeningSockets | None,
) -> None:
    """Serve until SIGTERM or SIGINT."""
    app = create_app(config, local=local)
    runner = Runner(app)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as ending:
        try:
            await runner.setup()
            formatter.secrets = app[VAULT].known
            sockets = sockets or await ListeningSockets.open(config.hosts, config.port)
            await Site(runner, [each.socket for each in sockets.sockets], runner.connections).start()
            # objects made at start stay; scanning them again and again shows in the latency of streams
            gc.freeze()
            gc.set_threshold(10_000, 20, 50)
            gc.enable()
            _tell(config, sockets.names, notifier)
            # until everything has ended
            await ending.enter_async_context(background_tasks(notifier.watch))
            async with background_tasks(heap.return_free_memory):
                await stop.wait()
                notifier.stopping(config.drain_seconds + _CLEANUP)
                await _drain(app, config.drain_seconds)
        finally:
            await runner.cleanup()
            if sockets is not None:
                sockets.close()


def _tell(config: Config, names: Sequence[str], notifier: Notifier) -> None:
    """Say where the server listens, in addresses that can be opened."""
    shown = [f"{name}{config.base_path}" if name.startswith("http:") else name for name in names]
    for name in shown:
        print(f"ChatHub listens on {name} ({config.env})", flush=True)
    notifier.ready(f"listening on {', '.join(shown)}")


async def _drain(app: web.Application, seconds: float) -> None:
    """Give running replies so many seconds to end and to be stored.

    The listener stays open meanwhile, so that new turns get a 503 and not a refused connection.
    """
    end = asyncio.get_running_loop().time() + seconds
    app[DB].end_lock_waits(seconds)
    await app[RUNNING].drain(seconds)
    await app[SETTLEMENT_QUEUE].drain(end - asyncio.get_running_loop().time())


def _raise_file_limit() -> None:
    """Every stream takes two descriptors, and the soft limit is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
