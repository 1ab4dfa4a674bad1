"""What lives as long as the server. Each part opens when the application starts, and they close in reverse
order.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from chathub import app_keys
from chathub.accounts.bootstrap import create_first_accounts, refuse_default_passwords
from chathub.accounts.codes import Codes
from chathub.accounts.last_uses import LastUses
from chathub.accounts.passwords import Passwords
from chathub.accounts.registration import RegistrationPolicy
from chathub.accounts.session_tokens import Signer
from chathub.accounts.sessions import Sessions
from chathub.accounts.throttle import Throttle
from chathub.backup_schedule import Backups
from chathub.billing import output_rates
from chathub.billing.settlement_queue import SettlementQueue
from chathub.billing.token_weights import TokenWeights
from chathub.chat import leaving
from chathub.chat.remover import Remover
from chathub.clock import Clock
from chathub.config import Config
from chathub.database import clock_check
from chathub.database.database import Database
from chathub.database.monitor import Monitor
from chathub.database.opening import open_database
from chathub.database.periodic import background_tasks
from chathub.database.vacuum import trim
from chathub.gateway.gateway import Gateway
from chathub.gateway.metering import Metering
from chathub.metrics import loop_lag
from chathub.metrics.metrics import ReplyCounts
from chathub.metrics.scrape import Scrapes
from chathub.metrics.state import StateReader
from chathub.providers.affinity import Affinity
from chathub.providers.availability import Availability
from chathub.providers.catalog import Catalog
from chathub.providers.cooldowns import CallerCooldowns
from chathub.providers.local_provider import local_model, offer_local_model
from chathub.providers.resolver import Resolver
from chathub.replies import saving
from chathub.replies.attachments import AttachmentKeeper
from chathub.replies.conversations import ConversationReplies
from chathub.replies.runner import ReplyRunner
from chathub.replies.titles import Titles
from chathub.replies.unstored import UnstoredReplies
from chathub.retention.retention import Retention
from chathub.running.admission import Admission
from chathub.running.key_reports import KeyReports
from chathub.running.outside_writes import OutsideWrites
from chathub.running.registry import Registry
from chathub.security.master_secret import master_secret
from chathub.security.stored_proxy import keep_out_of_logs
from chathub.security.token_keys import token_keys
from chathub.security.vault import Vault, derive
from chathub.stored_responses import log as response_log
from chathub.stored_responses.generating import ResponseGenerator
from chathub.stored_responses.responses import StoredResponses
from chathub.upstream import guard
from chathub.upstream.client import Client
from chathub.upstream.connections import new_session
from chathub.upstream.http import Timeouts
from chathub.upstream.proxies import Proxies

if TYPE_CHECKING:
    from chathub.upstream.local_model.weights import Weights

log = logging.getLogger("chathub")

# seconds that all writes together wait for another program's lock while the server ends
_LAST_LOCK_WAIT = 0.25


@asynccontextmanager
async def database(app: web.Application) -> AsyncIterator[None]:
    """The database with its first accounts, and what needs nothing but the database."""
    config, clock = app[app_keys.CONFIG], app[app_keys.CLOCK]
    async with open_database(config, creates=True) as db:
        master = await master_secret(db, config)
        passwords = Passwords(config.bcrypt_rounds)
        codes = Codes(config, derive(master, "chathub code v1"))
        try:
            app[app_keys.CATALOG] = catalog = Catalog(db, config)
            await _prepare(db, catalog, config, clock, passwords)
            app[app_keys.DB] = db
            db.when_waited = app[app_keys.METRICS].write_waits.observe
            app[app_keys.PASSWORDS] = passwords
            app[app_keys.THROTTLE] = Throttle(db, clock, derive(master, "chathub throttle v1"))
            app[app_keys.CODES] = codes
            app[app_keys.REGISTRATION] = RegistrationPolicy(config, codes)
            app[app_keys.VAULT] = Vault(master)
            app[app_keys.AFFINITY] = Affinity(derive(master, "chathub affinity v1"))
            signer = Signer(*await token_keys(db, master))
            app[app_keys.LAST_USES] = last_uses = LastUses(db)
            app[app_keys.SESSIONS] = Sessions(db, clock, signer, config, last_uses)
            yield
        finally:
            passwords.close()


async def _prepare(
    db: Database, catalog: Catalog, config: Config, clock: Clock, passwords: Passwords
) -> None:
    await create_first_accounts(db, config, clock, passwords)
    await clock_check.start(db, clock)
    if not config.development:
        await refuse_default_passwords(db)
    await catalog.reload()
    alive_until = round(db.alive_until * 1000)
    if interrupted := await db.write(saving.recover, catalog, clock.month(), alive_until):
        log.warning("%d replies were cut off by the last end of the server", interrupted)
    await db.write(response_log.recover)
    await db.write(leaving.recover)


@asynccontextmanager
async def providers(app: web.Application, *, local: Weights | None) -> AsyncIterator[None]:
    """The way to the providers: sessions towards them, and what finds an endpoint for a request."""
    config, clock, db = app[app_keys.CONFIG], app[app_keys.CLOCK], app[app_keys.DB]
    await db.write(offer_local_model, local, config.language, clock.now())
    catalog, vault = app[app_keys.CATALOG], app[app_keys.VAULT]
    await catalog.reload()
    for source in config.proxies.sources.values():
        keep_out_of_logs(vault, source.proxy)
    if config.proxies.sources:
        log.info("requests %s", config.proxies.sentence)
    model, idle = local_model(local) if local else None, config.idle_seconds
    async with (
        new_session(idle) as trusted,
        new_session(idle, guard.socket_factory(config.upstream_allow_networks)) as public,
    ):
        timeouts = Timeouts(config.answer_seconds, config.first_byte_seconds)
        app[app_keys.CLIENT] = Client(trusted, public, model, timeouts, Proxies(config.proxies))
        app[app_keys.COOLDOWNS] = cooldowns = CallerCooldowns()
        app[app_keys.AVAILABILITY] = Availability(db, catalog, vault, clock, cooldowns)
        app[app_keys.RESOLVER] = Resolver(
            db, catalog, vault, clock, config, cooldowns, app[app_keys.AFFINITY]
        )
        try:
            yield
        finally:
            if model is not None:
                await model.close()


@asynccontextmanager
async def generation(app: web.Application) -> AsyncIterator[None]:
    """Replies and gateway requests: everything that has models generate something."""
    config, clock, db, disk = app[app_keys.CONFIG], app[app_keys.CLOCK], app[app_keys.DB], app[app_keys.DISK]
    client, memory = app[app_keys.CLIENT], app[app_keys.REPLY_MEMORY]
    app[app_keys.RUNNING] = registry = Registry(config.usage_seconds)
    app[app_keys.SETTLEMENT_QUEUE] = queue = SettlementQueue(db)
    key_reports = KeyReports(
        app[app_keys.COOLDOWNS], queue, clock, app[app_keys.CATALOG], app[app_keys.AFFINITY]
    )
    admission = Admission(db, disk, queue)
    await disk.measure()
    app[app_keys.OUTPUT_RATES] = rates = await db.read(output_rates.load)
    app[app_keys.TOKEN_WEIGHTS] = weights = TokenWeights()
    await weights.load(db)
    app[app_keys.REPLY_COUNTS] = counts = ReplyCounts(app[app_keys.METRICS], app[app_keys.CATALOG])
    metering = Metering(db, clock, registry, admission, memory, queue, key_reports, weights, rates, counts)
    resolver, offload = app[app_keys.RESOLVER], app[app_keys.OFFLOAD]
    app[app_keys.GATEWAY] = Gateway(
        client, config, resolver, offload, key_reports, metering, registry, weights
    )
    app[app_keys.STORED_RESPONSES] = stored = _stored_responses(app)
    unstored = UnstoredReplies(db, queue)
    keeper = AttachmentKeeper(db, admission, clock, config.language)
    runner = ReplyRunner(db, client, clock, config, key_reports, unstored, keeper, weights, rates, counts)
    titles = Titles(registry, queue, client, clock, config, rates, counts)
    app[app_keys.REPLIES] = replies = ConversationReplies(
        db, registry, admission, runner, titles, clock, config, memory, queue, unstored, weights
    )
    async with AsyncExitStack() as ending:
        # run in reverse order, and each also if another one failed
        ending.push_async_callback(app[app_keys.LAST_USES].flush)
        ending.push_async_callback(queue.close)
        ending.push_async_callback(replies.close)
        ending.push_async_callback(stored.close)
        yield


def _stored_responses(app: web.Application) -> StoredResponses:
    db, config, gateway = app[app_keys.DB], app[app_keys.CONFIG], app[app_keys.GATEWAY]
    generator = ResponseGenerator(db, gateway, app[app_keys.RUNNING], config, app[app_keys.STREAM_LIMIT])
    catalog, clock, offload = app[app_keys.CATALOG], app[app_keys.CLOCK], app[app_keys.OFFLOAD]
    return StoredResponses(db, generator, catalog, clock, config, offload, app[app_keys.DISK])


@asynccontextmanager
async def upkeep(app: web.Application) -> AsyncIterator[None]:
    """Background tasks beside the requests: saving, monitoring, backups, deletion."""
    config, clock, db = app[app_keys.CONFIG], app[app_keys.CLOCK], app[app_keys.DB]
    app[app_keys.REMOVER] = remover = Remover(db, clock)
    app[app_keys.BACKUPS] = backups = Backups(db, config, clock, app[app_keys.CODES].mailer)
    await backups.load_last()
    reader = StateReader(config, clock, db, app[app_keys.RUNNING], app[app_keys.SETTLEMENT_QUEUE], backups)
    app[app_keys.SCRAPES] = scrapes = Scrapes(app[app_keys.METRICS], reader)
    monitor, replies, disk = Monitor(db), app[app_keys.REPLIES], app[app_keys.DISK]
    async with AsyncExitStack() as ending:
        ending.callback(backups.close)
        ending.callback(scrapes.close)
        # a check of the database is interrupted before its connection is closed
        async with background_tasks(
            *(replies.beat, replies.save, disk.watch, remover.run, backups.run, partial(trim, db)),
            *(partial(clock_check.watch, db, clock), monitor.watch, monitor.check, app[app_keys.CODES].run),
            partial(loop_lag.watch, app[app_keys.METRICS].loop_lag.observe),
            OutsideWrites(db, app[app_keys.SESSIONS], app[app_keys.CATALOG], app[app_keys.RUNNING]).watch,
            *(app[app_keys.LAST_USES].run, app[app_keys.STORED_RESPONSES].remove_old),
            Retention(db, clock, config, remover).run,
        ):
            yield


async def end_replies(app: web.Application) -> None:
    """Before anything is closed: stop what is being generated, and store it."""
    app[app_keys.DB].end_lock_waits(_LAST_LOCK_WAIT)
    await app[app_keys.STORED_RESPONSES].close()
    await app[app_keys.REPLIES].close()


async def end_threads(app: web.Application) -> None:
    app[app_keys.OFFLOAD].close()
    app[app_keys.UPLOADS].close()
    if app_keys.FRONTEND in app:
        app[app_keys.FRONTEND].end()
