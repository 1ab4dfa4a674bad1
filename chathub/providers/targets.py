"""Whether a model is an alias, and which targets it has: what an administrator's change makes of it."""

from collections.abc import Sequence

from msgspec import Struct

from chathub.database.rows.models import Model, ModelKind
from chathub.database.transaction import Transaction
from chathub.errors import BadRequest, Conflict
from chathub.providers.aliases import ALIAS
from chathub.schemas.models import NewTarget

# types of models that can take the same requests
_SAME = {"completion": "chat"}


class Backing(Struct, frozen=True):
    """What replies for a model: the provider of that id, or, without one, the targets of an alias (None:
    those that it has)."""

    provider_id: int | None
    targets: Sequence[NewTarget] | None = None


def backing(
    tx: Transaction, old: Model | None, name: str, slug: str | None, targets: Sequence[NewTarget] | None
) -> Backing:
    """The backing that a request asks for, with a provider's slug (None: not given) and targets (None: not
    given), for a new model of that name or for ``old``.

    Raises:
        BadRequest: both or neither of them, or no such provider.
    """
    was_alias = old is not None and old.is_alias
    if targets:
        if slug not in (None, ALIAS):
            raise BadRequest("alias_has_no_provider")
        return Backing(None, targets)
    if slug is None and old is not None and not was_alias:
        return Backing(old.provider_id)
    if slug in (None, ALIAS):
        if old is None and slug is None:
            raise BadRequest("field_required", field="model_provider")
        if targets is not None or not was_alias:
            raise BadRequest("alias_without_targets", model=name)
        return Backing(None)
    row = tx.one(tx.q.providers.get_by_slug, slug=slug)
    if row is None:
        raise BadRequest("unknown_provider", provider=slug)
    return Backing(row.id)


def store_targets(tx: Transaction, model: Model, new: Backing) -> None:
    """Store the targets of a model whose row has its new backing; of one with a provider there are none.

    Raises:
        BadRequest: a target is unknown, an alias, listed twice, or of another type than the first.
        Conflict: the model is a target itself.
    """
    if model.is_alias and new.targets is None:
        return
    if model.is_alias:
        check_no_target(tx, model)
    tx.run(tx.q.model_targets.delete_all, alias_id=model.id)
    kinds: dict[int, str] = {}
    for position, target in enumerate(new.targets or ()):
        row = _target(tx, target.model_name)
        if row.id in kinds:
            raise BadRequest("target_twice", model=target.model_name)
        kinds[row.id] = _SAME.get(row.model_type, row.model_type)
        if len(set(kinds.values())) > 1:
            raise BadRequest("target_of_other_type", model=target.model_name)
        tx.run(
            tx.q.model_targets.insert,
            alias_id=model.id,
            target_id=row.id,
            position=position,
            weight=target.weight or 1,
            order=target.order or 0,
        )


def check_no_target(tx: Transaction, model: Model) -> None:
    """Check that no alias has the model as a target.

    Raises:
        Conflict: some have; the sentence names them.
    """
    if found := tx.all(tx.q.model_targets.list_aliases_of, target_id=model.id):
        raise Conflict("model_is_target", model=model.model_name, aliases=[row.name for row in found[:5]])


def _target(tx: Transaction, name: str) -> ModelKind:
    row = tx.one(tx.q.models.get_by_name, model_name=name)
    if row is None:
        raise BadRequest("unknown_target", model=name)
    if row.provider_id is None:
        raise BadRequest("target_is_alias", model=name)
    return row
