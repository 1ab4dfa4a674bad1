"""Typed keys of what the application and a request carry."""

from collections.abc import Mapping

from aiohttp import web

from chathub.accounts.caller import Caller
from chathub.accounts.codes import Codes
from chathub.accounts.last_uses import LastUses
from chathub.accounts.passwords import Passwords
from chathub.accounts.registration import RegistrationPolicy
from chathub.accounts.sessions import Sessions
from chathub.accounts.throttle import Throttle
from chathub.backup_schedule import Backups
from chathub.billing.output_rates import OutputRates
from chathub.billing.settlement_queue import SettlementQueue
from chathub.billing.token_weights import TokenWeights
from chathub.chat.remover import Remover
from chathub.clock import Clock
from chathub.config import Config
from chathub.database.database import Database
from chathub.disk import Disk
from chathub.documents import Documents
from chathub.frontend.files import FrontEnd
from chathub.gateway.gateway import Gateway
from chathub.limits.reply_memory import ReplyMemory
from chathub.limits.request_memory import RequestBody, RequestMemory
from chathub.limits.response_memory import ResponseMemory
from chathub.limits.streams import StreamLimit
from chathub.limits.uploads import Uploads
from chathub.metrics.metrics import Metrics, ReplyCounts
from chathub.metrics.scrape import Scrapes
from chathub.offload import Offload
from chathub.providers.affinity import Affinity
from chathub.providers.availability import Availability
from chathub.providers.catalog import Catalog
from chathub.providers.cooldowns import CallerCooldowns
from chathub.providers.resolver import Resolver
from chathub.replies.conversations import ConversationReplies
from chathub.running.registry import Registry
from chathub.security.vault import Vault
from chathub.stored_responses.responses import StoredResponses
from chathub.upstream.client import Client

CONFIG = web.AppKey("CONFIG", Config)
CLOCK = web.AppKey("CLOCK", Clock)
DB = web.AppKey("DB", Database)
DISK = web.AppKey("DISK", Disk)
DOCUMENTS = web.AppKey("DOCUMENTS", Documents)
BACKUPS = web.AppKey("BACKUPS", Backups)
VAULT = web.AppKey("VAULT", Vault)
AFFINITY = web.AppKey("AFFINITY", Affinity)
CATALOG = web.AppKey("CATALOG", Catalog)
SESSIONS = web.AppKey("SESSIONS", Sessions)
LAST_USES = web.AppKey("LAST_USES", LastUses)
PASSWORDS = web.AppKey("PASSWORDS", Passwords)
THROTTLE = web.AppKey("THROTTLE", Throttle)
CODES = web.AppKey("CODES", Codes)
REGISTRATION = web.AppKey("REGISTRATION", RegistrationPolicy)
STREAM_LIMIT = web.AppKey("STREAM_LIMIT", StreamLimit)
REQUEST_MEMORY = web.AppKey("REQUEST_MEMORY", RequestMemory)
UPLOADS = web.AppKey("UPLOADS", Uploads)
OFFLOAD = web.AppKey("OFFLOAD", Offload)
REPLY_MEMORY = web.AppKey("REPLY_MEMORY", ReplyMemory)
RESPONSE_MEMORY = web.AppKey("RESPONSE_MEMORY", ResponseMemory)
RESOLVER = web.AppKey("RESOLVER", Resolver)
AVAILABILITY = web.AppKey("AVAILABILITY", Availability)
COOLDOWNS = web.AppKey("COOLDOWNS", CallerCooldowns)
CLIENT = web.AppKey("CLIENT", Client)
GATEWAY = web.AppKey("GATEWAY", Gateway)
STORED_RESPONSES = web.AppKey("STORED_RESPONSES", StoredResponses)
REPLIES = web.AppKey("REPLIES", ConversationReplies)
OUTPUT_RATES = web.AppKey("OUTPUT_RATES", OutputRates)
RUNNING = web.AppKey("RUNNING", Registry)
TOKEN_WEIGHTS = web.AppKey("TOKEN_WEIGHTS", TokenWeights)
SETTLEMENT_QUEUE = web.AppKey("SETTLEMENT_QUEUE", SettlementQueue)
REMOVER = web.AppKey("REMOVER", Remover)
METRICS = web.AppKey("METRICS", Metrics)
REPLY_COUNTS = web.AppKey("REPLY_COUNTS", ReplyCounts)
SCRAPES = web.AppKey("SCRAPES", Scrapes)
# there only if one is configured
FRONTEND = web.AppKey("FRONTEND", FrontEnd)
# handler → "public", "user", "session" (no access token), "admin", "metrics" (their token too) or "v1"
ACCESS = web.AppKey("ACCESS", Mapping)

CALLER = web.RequestKey("CALLER", Caller)
# the memory of the request's body, once it is read
BODY = web.RequestKey("BODY", RequestBody)
# the connection is closed after the response, although the client may still be sending
CLOSING = web.RequestKey("CLOSING", bool)
# the Content-Security-Policy of a page, in place of that of data
POLICY = web.RequestKey("POLICY", str)
REQUEST_ID = web.RequestKey("REQUEST_ID", str)
# the request came over a Unix socket, which no web page reaches
OVER_UNIX = web.RequestKey("OVER_UNIX", bool)
# set when a stream has begun: from then on an error is an event, not a response
STREAMING = web.RequestKey("STREAMING", bool)
