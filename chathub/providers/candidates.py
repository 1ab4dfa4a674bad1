"""The candidates of a request: models that may reply, with their endpoints, in the order of the attempts."""

from msgspec import Struct

from chathub.formats.messages import Endpoint
from chathub.providers.affinity import Affinity
from chathub.providers.chat_model import ChatModel


class Candidate(Struct, frozen=True):
    """A model that may reply, and the endpoints to try for it, in order. ``first_choices`` are the API keys
    that serve the conversation while they work; ``is_well``: not all of them have failed just now.

    ``pool`` names the targets among which a target is chosen (empty: it is none); ``is_first_choice``: it
    serves the conversation while it works.
    """

    model: ChatModel
    endpoints: tuple[Endpoint, ...]
    first_choices: frozenset[int] = frozenset()
    is_well: bool = True
    pool: str = ""
    is_first_choice: bool = True

    def after(self, endpoint: Endpoint) -> Endpoint | None:
        """The endpoint that is tried after this one."""
        following = self.endpoints[self.endpoints.index(endpoint) + 1 :]
        return following[0] if following else None

    @property
    def model_name(self) -> str:
        return self.model.name


class Candidates(Struct, frozen=True):
    """The models for a request: the one that was requested, or the targets of an alias, and those that they
    fall back on. ``requested`` is the name that was requested, as it is kept and shown; ``affinity`` is the
    affinity key of the request, empty for none."""

    in_order: tuple[Candidate, ...]
    requested: str
    affinity: str = ""

    @property
    def model(self) -> ChatModel:
        return self.in_order[0].model

    @property
    def models(self) -> dict[str, ChatModel]:
        return {candidate.model.name: candidate.model for candidate in self.in_order}

    @property
    def first_key_id(self) -> int | None:
        """The API key that is tried first."""
        return next((endpoint.key_id for endpoint in self.in_order[0].endpoints), None)


def record_place(affinities: Affinity, affinity: str, candidate: Candidate, endpoint: Endpoint) -> None:
    """Record that a conversation is served at an endpoint of a candidate from now on."""
    if affinity and endpoint.key_id is not None:
        is_first_choice = endpoint.key_id in candidate.first_choices
        affinities.record(affinity, candidate.model.name, endpoint.key_id, is_first_choice=is_first_choice)


def record_target(affinities: Affinity, affinity: str, candidate: Candidate) -> None:
    """Record that a conversation is served by a target of an alias from now on."""
    if candidate.pool:
        affinities.record(
            affinity, candidate.pool, candidate.model.name, is_first_choice=candidate.is_first_choice
        )
