"""The snapshot of providers, models and aliases that the catalog reads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from chathub.database.rows.model_targets import ModelTarget
from chathub.database.rows.models import Model
from chathub.database.rows.providers import Provider
from chathub.database.transaction import Transaction
from chathub.providers import aliases
from chathub.providers.aliases import Target
from chathub.schemas import models
from chathub.sentences import Language, sentence

# the last field of a model in lists, with what ends it
AVAILABLE, UNAVAILABLE = b',"available":true}', b',"available":false}'


@dataclass(frozen=True)
class Snapshot:
    """``providers`` by slug; ``by_name``: rows by their name, and by it in lower case; ``targets`` of
    aliases, by the alias's id; ``wildcards``: the most specific first; ``encoded``: JSON of ``rows`` up to
    their last field, ``all_models``: all of it, for callers who can use none. The row of an alias is as lists
    show it."""

    providers: dict[str, Provider] = field(default_factory=dict)
    by_name: dict[str, Model] = field(default_factory=dict)
    targets: dict[int, list[Target]] = field(default_factory=dict)
    wildcards: tuple[Model, ...] = ()
    rows: tuple[Model, ...] = ()
    encoded: tuple[bytes, ...] = ()
    all_models: bytes = b"[]"


def load(tx: Transaction, language: Language) -> Snapshot:
    """The snapshot of what is in the database."""
    stored = tx.all(tx.q.models.list_all)
    targets = _targets(stored, tx.all(tx.q.model_targets.list_all))
    rows = tuple(_complete(row, targets.get(row.id, []), language) for row in stored)
    shown = (_shown(row, targets.get(row.id, [])) for row in rows)
    encoded = tuple(msgspec.json.encode(each).removesuffix(UNAVAILABLE) for each in shown)
    by_name = {row.model_name.lower(): row for row in rows}
    return Snapshot(
        providers={row.slug: row for row in tx.all(tx.q.providers.list_all)},
        by_name=by_name | {row.model_name: row for row in rows},
        targets=targets,
        wildcards=aliases.wildcards_in(rows),
        rows=rows,
        encoded=encoded,
        all_models=b"[" + b",".join(each + UNAVAILABLE for each in encoded) + b"]",
    )


def _targets(rows: Iterable[Model], targets: Iterable[ModelTarget]) -> dict[int, list[Target]]:
    """The targets of each alias, by its id, as the administrator listed them."""
    by_id = {row.id: row for row in rows}
    found: dict[int, list[Target]] = {}
    for each in targets:
        target = Target(by_id[each.target_id], each.weight, each.order)
        found.setdefault(each.alias_id, []).append(target)
    return found


def model_shown(snapshot: Snapshot, row: Model, language: Language) -> models.Model:
    """A row of the table as it goes out; an alias with the targets of the snapshot."""
    targets = snapshot.targets.get(row.id, [])
    return _shown(_complete(row, targets, language), targets)


def _complete(row: Model, targets: Sequence[Target], language: Language) -> Model:
    """A row; that of an alias as lists show it."""
    return aliases.combined(row, targets, sentence("alias", language, {})) if row.is_alias else row


def _shown(row: Model, targets: Iterable[Target]) -> models.Model:
    listed = [models.Target(target.row.model_name, target.weight, target.order) for target in targets]
    return models.Model.of(row, listed)
