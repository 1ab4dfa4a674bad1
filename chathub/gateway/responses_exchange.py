"""The attempts of a request of OpenAI's Responses: forwarded where the provider has them, else translated.

Where that is not known, the request is forwarded first. If the provider turns out to have no Responses, it is
translated within the same attempt, and the lack is remembered once the translated request was accepted. The
refused one costs nothing: it is no attempt of its own, unless the provider has told a usage.
"""

from functools import partial

from chathub.errors import BadRequest
from chathub.formats.client_request import ClientRequest
from chathub.formats.events import Failure
from chathub.formats.messages import Attempt, Endpoint
from chathub.formats.responses.lacking import Lack, lack_in
from chathub.gateway.exchange import Exchange
from chathub.gateway.usage_meter import EventQueue, UsageMeter
from chathub.providers.candidates import Candidate
from chathub.upstream.client import AttemptFailed
from chathub.upstream.failover import Trial
from chathub.upstream.learned_responses import Having


class ResponsesExchange(Exchange):
    """The attempts of one request of Responses."""

    _decoded: ClientRequest | None = None

    async def prepare(self, candidate: Candidate) -> Trial:
        if all(self._having(endpoint, candidate) == "missing" for endpoint in candidate.endpoints):
            return await super().prepare(candidate)
        self.candidate = candidate
        queue = self._queue()
        return Trial(queue, partial(self._attempt, queue))

    def _having(self, endpoint: Endpoint, candidate: Candidate) -> Having:
        """Whether an endpoint has Responses for the candidate's model."""
        model = candidate.model.upstream_name
        return self._client.responses.having(endpoint, model, self._request.user_id)

    async def _attempt(self, queue: EventQueue, endpoint: Endpoint) -> Failure | None:
        lack: Lack = ""
        having = self._having(endpoint, self.candidate)
        learned, model = self._client.responses, self.candidate.model.upstream_name
        if having != "missing":
            failure = await self._forwarded(queue, endpoint)
            if failure is None:
                learned.learn_offered(endpoint, model, self._request.user_id)
                return None
            lack = lack_in(failure)
            if queue.is_committed or queue.left.is_set() or lack == "":
                return failure
            if lack == "perhaps" and having == "offered":
                return failure
            self._forget(queue, endpoint, failure)
        failure = await self._translated(queue, endpoint)
        if lack and (failure is None or queue.has_output):
            learned.learn_missing(endpoint, model, self._request.user_id, lack)
        return failure

    async def _forwarded(self, queue: EventQueue, endpoint: Endpoint) -> Failure | None:
        # the client sends the provider's own reasoning back itself
        thoughts, queue.thoughts = queue.thoughts, None
        queue.is_forwarded = True
        try:
            forward = self._forward if self._streams else self._forward_slowly
            return await forward(queue, endpoint)
        except AttemptFailed as failed:
            return failed.failure
        finally:
            queue.is_forwarded, queue.thoughts = False, thoughts

    def _forget(self, queue: EventQueue, endpoint: Endpoint, failure: Failure) -> None:
        """Forget a forwarded request that was refused; a usage that came with that is an attempt of its
        own."""
        usage = queue.reported_usage
        queue.reset_attempt()
        queue.decoder = None
        if usage is None:
            return
        spent = UsageMeter(0, self._config.reply_characters)
        attempt = Attempt(endpoint, self.candidate.model_name)
        attempt.sent_at = queue.attempts[-1].sent_at
        attempt.complete(failure)
        attempt.end()
        spent.attempts.append(attempt)
        spent.feed([usage])
        self._request.add_meter(spent, self.candidate.model, before=queue)

    async def _translated(self, queue: EventQueue, endpoint: Endpoint) -> Failure | None:
        if self._decoded is None:
            try:
                self._decoded = await self._off_loop(self._decoded_request)
            except BadRequest as error:
                # nothing else can be made of it: the provider would have to have Responses
                param = error.details.get("param")
                return Failure(error.reason.text("en"), status=400, param=param, reason=error.reason)
        await self._expect(queue, self._decoded)
        return await self._translate(queue, self._decoded, endpoint)
