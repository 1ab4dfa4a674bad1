"""Titles by the model: generated in the background after a conversation's first turn."""

import asyncio
import logging
from functools import partial

from chathub.billing import ledger
from chathub.billing.early_ends import Ending, Seen, cost_of
from chathub.billing.ledger import AttemptOwner
from chathub.billing.output_rates import OutputRates
from chathub.billing.settlement_queue import SettlementQueue
from chathub.chat.title_text import title_of
from chathub.clock import Clock, Month
from chathub.config import Config
from chathub.database.transaction import Transaction
from chathub.formats.estimates import estimate, estimate_messages
from chathub.formats.events import Failure
from chathub.formats.messages import Attempt, ChatRequest, Message
from chathub.metrics.metrics import ReplyCounts
from chathub.providers.candidates import Candidate, Candidates
from chathub.providers.chat_model import ChatModel
from chathub.replies.reply import Reply
from chathub.replies.state import ReplyState
from chathub.running.registry import Registry
from chathub.schemas.chats import Options
from chathub.upstream import failover
from chathub.upstream.client import Client
from chathub.upstream.failover import Trial

log = logging.getLogger("chathub.titles")

_INSTRUCTION = "请为下面的对话起一个标题，不超过15个字，使用对话的语言，只输出标题本身。"
_SECONDS = 60
_CHARACTERS = 1000
# tokens of a title with the reasoning before it
_MOST = 500


class Titles:
    """Generates titles. A title that the user chose is never changed, and a failure changes nothing."""

    def __init__(
        self,
        registry: Registry,
        settlement_queue: SettlementQueue,
        client: Client,
        clock: Clock,
        config: Config,
        rates: OutputRates,
        reply_counts: ReplyCounts,
    ) -> None:
        self._registry = registry
        self._settlement_queue = settlement_queue
        self._client = client
        self._clock = clock
        self._rates = rates
        self._reply_counts = reply_counts
        self._is_default = config.auto_title
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, reply: Reply, candidates: Candidates, options: Options) -> None:
        """Have a title generated after the first turn, if the turn succeeded and the caller or the server's
        configuration says so."""
        is_requested = self._is_default if options.auto_title is None else options.auto_title
        is_done = reply.state is ReplyState.DONE
        if is_requested and reply.turn.is_first and is_done:
            task = self._registry.spawn(self._suggest(reply, candidates))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """End all of them: what they used so far is settled."""
        for task in list(self._tasks):
            task.cancel()

    async def _suggest(self, reply: Reply, candidates: Candidates) -> None:
        """Have the model that replied generate the title, and store it with its usage. Nothing is generated
        if there is no memory left to keep a settlement that cannot be stored."""
        if not self._settlement_queue.has_room():
            return
        candidate = next(
            (candidate for candidate in candidates.in_order if candidate.model == reply.model),
            candidates.in_order[0],
        )
        chat_request = _chat_request(candidate.model, reply, await reply.text.whole("content"))
        generated = await self._generate(candidate, chat_request, reply)
        content, reasoning = generated.text.of("content"), generated.text.of("reasoning")
        title = title_of(content.strip().strip("\"'《》“”「」#*。.").strip())
        prompt = estimate_messages(chat_request.messages)
        seen = Seen(prompt, estimate(content), estimate(reasoning))
        usage_cost = cost_of(
            candidate.model,
            generated.counted(generated.usage),
            seen,
            Ending.of(generated, is_streamed=chat_request.stream, most=_MOST),
            self._rates,
        )
        self._reply_counts.record(
            generated.attempts,
            candidates.models,
            usage_cost,
            prompt_estimate=prompt,
            first_at=generated.first_at,
        )
        store = partial(
            _store,
            generated=generated,
            title="" if generated.failure else title,
            models=candidates.models,
            usage_cost=usage_cost,
            prompt=prompt,
            month=self._clock.month(),
        )
        await self._settlement_queue.finish(self._settlement_queue.store("title", store))

    async def _generate(self, candidate: Candidate, chat_request: ChatRequest, reply: Reply) -> Reply:
        """The model's reply to the request for a title; it has no followers."""
        generated = Reply(reply.turn.without_texts(), reply.user_id, reply.requested_model, 10_000)
        generated.token_id = reply.token_id

        async def prepare(_: Candidate) -> Trial:
            return failover.trial(self._client, chat_request, generated)

        try:
            async with asyncio.timeout(_SECONDS):
                generated.failure = await failover.run([candidate], prepare, _no_report)
        except TimeoutError:
            generated.failure = Failure("no title came in time", kind="timeout")
        except asyncio.CancelledError:
            # the server ends: the usage so far is settled
            generated.failure = Failure("no time for a title", kind="cut")
        return generated


def _chat_request(model: ChatModel, reply: Reply, content: str) -> ChatRequest:
    """The request for a title, with the beginnings of the prompt and of the reply's ``content``."""
    user_text = reply.turn.prompt[0].text[:_CHARACTERS]
    prompt = f"{_INSTRUCTION}\n\n用户：{user_text}\n\n助手：{content[:_CHARACTERS]}"
    return ChatRequest(
        "",
        model.upstream_name,
        [Message("user", prompt)],
        stream=model.supports_streaming,
        params={"max_tokens": _MOST},
        caller_id=reply.user_id,
    )


async def _no_report(attempt: Attempt) -> None:
    """An attempt for a title does not change the health of an API key."""


def _store(
    tx: Transaction,
    generated: Reply,
    title: str,
    models: dict[str, ChatModel],
    usage_cost: ledger.UsageCost,
    prompt: int,
    month: Month,
) -> None:
    turn = generated.turn
    attempt_owner = AttemptOwner(
        kind="title",
        user_id=generated.user_id,
        token_id=generated.token_id,
        conversation_id=turn.public_id,
        message_id=turn.message_id,
        requested_model=generated.requested_model,
    )
    ledger.record_attempts(
        tx,
        attempt_owner,
        generated.attempts,
        models,
        usage_cost,
        prompt_estimate=prompt,
        first_at=generated.first_at,
        end_reason=generated.failure.kind if generated.failure else generated.finish_reason or "stop",
        month=month,
    )
    if title:
        tx.run(tx.q.conversations.suggest_title, conversation_id=turn.conversation_id, title=title)
