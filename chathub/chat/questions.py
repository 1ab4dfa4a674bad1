"""What is asked of a model: a request for a reply and what was decided about it."""

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

from chathub.accounts.sessions import Caller
from chathub.chat.plan import Plan
from chathub.chat.turns import Claim, Ending, Place
from chathub.errors import ChatHubError
from chathub.wire.requests import Options


class Question(Struct, frozen=True):
    """A request for a reply with its plan, or with why there is none.

    ``text`` is the question as it goes upstream, ``model`` the name that was asked for.
    """

    caller: Caller
    place: Place
    text: str
    model: str
    options: Options
    plan: Plan | ChatHubError
    claim: Claim | None = None

    @property
    def model_name(self) -> str:
        return self.model if isinstance(self.plan, ChatHubError) else self.plan.model.name

    @property
    def refusal(self) -> Ending | None:
        """How the reply ends before it began, if there is no plan."""
        error = self.plan
        if not isinstance(error, ChatHubError):
            return None
        return Ending("error", error.sentence, error.status, "error", error.retry_after)


def claim_for(key: str | None, request: Options, *more: Any) -> Claim | None:
    """The claim of a request that carries a key: the digest is of the canonical body, without what only
    says how the answer is delivered."""
    if not key:
        return None
    body = msgspec.structs.replace(request, client_message_id=None, resumable=None, on_disconnect=None)
    canonical = msgspec.json.encode([*more, body], order="deterministic")
    return Claim(key, hashlib.sha256(canonical).hexdigest())
