"""The typed keys under which the application and a request carry their parts."""

from collections.abc import Mapping

from aiohttp import web

from chathub.accounts.bodies import RequestBody, RequestMemory
from chathub.accounts.holdings import ReplyMemory
from chathub.accounts.last_uses import LastUses
from chathub.accounts.passwords import Passwords
from chathub.accounts.registration import RegistrationPolicy
from chathub.accounts.responses import ResponseMemory
from chathub.accounts.sessions import Caller, Sessions
from chathub.accounts.streams import StreamLimit
from chathub.accounts.throttle import Throttle
from chathub.backups import Backups
from chathub.catalog import Catalog
from chathub.chat.cooldowns import CallerCooldowns
from chathub.chat.gateway import Gateway
from chathub.chat.removal import Remover
from chathub.chat.replies import Replies
from chathub.chat.resolver import Resolver
from chathub.chat.settlements import SettlementQueue
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.connection import Database
from chathub.disk import Disk
from chathub.offload import Offload
from chathub.vault import Vault

CONFIG = web.AppKey("CONFIG", Config)
CLOCK = web.AppKey("CLOCK", Clock)
DB = web.AppKey("DB", Database)
DISK = web.AppKey("DISK", Disk)
BACKUPS = web.AppKey("BACKUPS", Backups)
VAULT = web.AppKey("VAULT", Vault)
CATALOG = web.AppKey("CATALOG", Catalog)
SESSIONS = web.AppKey("SESSIONS", Sessions)
LAST_USES = web.AppKey("LAST_USES", LastUses)
PASSWORDS = web.AppKey("PASSWORDS", Passwords)
THROTTLE = web.AppKey("THROTTLE", Throttle)
REGISTRATION = web.AppKey("REGISTRATION", RegistrationPolicy)
STREAM_LIMIT = web.AppKey("STREAM_LIMIT", StreamLimit)
REQUEST_MEMORY = web.AppKey("REQUEST_MEMORY", RequestMemory)
OFFLOAD = web.AppKey("OFFLOAD", Offload)
REPLY_MEMORY = web.AppKey("REPLY_MEMORY", ReplyMemory)
RESPONSE_MEMORY = web.AppKey("RESPONSE_MEMORY", ResponseMemory)
RESOLVER = web.AppKey("RESOLVER", Resolver)
COOLDOWNS = web.AppKey("COOLDOWNS", CallerCooldowns)
GATEWAY = web.AppKey("GATEWAY", Gateway)
REPLIES = web.AppKey("REPLIES", Replies)
SETTLEMENT_QUEUE = web.AppKey("SETTLEMENT_QUEUE", SettlementQueue)
REMOVER = web.AppKey("REMOVER", Remover)
# handler → "public", "user", "session" (no personal token), "admin" or "v1"
ACCESS = web.AppKey("ACCESS", Mapping)

CALLER = web.RequestKey("CALLER", Caller)
# what the request's body takes, from when it is read
BODY = web.RequestKey("BODY", RequestBody)
# the connection ends with the answer, although the client may still be sending
CLOSING = web.RequestKey("CLOSING", bool)
REQUEST_ID = web.RequestKey("REQUEST_ID", str)
# set once a stream has begun: from then on an error is an event, not a response
STREAMING = web.RequestKey("STREAMING", bool)
