"""Counts what the prompt of a gateway request is made of, where its tokens must be estimated or a report is
learned from."""

import contextlib
from collections.abc import Sequence

from chathub.billing.token_weights import TokenWeights
from chathub.errors import ChatHubError
from chathub.formats.client_format import ClientFormat, counts_of_decoded
from chathub.formats.prompt_counts import PromptCounts
from chathub.gateway.usage_meter import UsageMeter
from chathub.offload import Offload
from chathub.providers.chat_model import ChatModel

# bytes of a body that is decoded only to learn from its report
_LONGEST_LESSON = 1024 * 1024


class PromptCounter:
    """Counts the prompt of one request; ``longest`` is an upper bound on its tokens."""

    def __init__(
        self,
        client_format: ClientFormat,
        token_weights: TokenWeights,
        offload: Offload,
        longest: int,
        user_id: int,
    ) -> None:
        self._user_id = user_id
        self._format = client_format
        self._token_weights = token_weights
        self._offload = offload
        self.longest = longest

    def expected(self, model: ChatModel, counts: PromptCounts | None) -> int:
        """About how many tokens the prompt is; None for ``counts``: it cannot be decoded."""
        return self.longest if counts is None else self._token_weights.expected(model, counts)

    async def count(self, meters: Sequence[UsageMeter]) -> None:
        """Count the prompt for the meters that need it. A forwarded request is decoded: the size of its body
        counts its JSON too."""
        counts: PromptCounts | None = None
        for meter in meters:
            model = meter.model
            if model is None or meter.is_counted:
                continue
            meter.teaches = self._teaches(meter, model)
            if meter.prompt_counts is None and (meter.teaches or meter.lacks_prompt_tokens):
                counts = meter.prompt_counts = counts or await self._counts()
                meter.prompt_estimate = self.expected(model, counts)
            meter.is_counted = meter.teaches or meter.prompt_counts is not None

    def _teaches(self, meter: UsageMeter, model: ChatModel) -> bool:
        is_short = meter.prompt_counts is not None or len(self._format.body) <= _LONGEST_LESSON
        is_reported = meter.is_successful and meter.reported_prompt is not None
        return is_reported and is_short and self._token_weights.is_curious(model, self._user_id)

    async def _counts(self) -> PromptCounts | None:
        with contextlib.suppress(ChatHubError):
            return await self._offload.run(len(self._format.body), counts_of_decoded, self._format)
        return None
