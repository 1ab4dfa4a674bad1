"""Named SQL statements from ``sql/queries/*.sql``.

A statement begins with a header line ``-- name: get_by_id``; comment lines may follow. ``q.<file>.<name>``
is the statement with the type that ``rows/<file>.py`` declares.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from chathub.database.rows.api_keys import ApiKeys
from chathub.database.rows.audit import Audit
from chathub.database.rows.budgets import Budgets
from chathub.database.rows.clock import Clock
from chathub.database.rows.conversations import Conversations
from chathub.database.rows.deleted_conversations import DeletedConversations
from chathub.database.rows.exports import Exports
from chathub.database.rows.files import Files
from chathub.database.rows.idempotency import Idempotency
from chathub.database.rows.invites import Invites
from chathub.database.rows.leaving_users import LeavingUsers
from chathub.database.rows.ledger import Ledger
from chathub.database.rows.limits import Limits
from chathub.database.rows.login_networks import LoginNetworks
from chathub.database.rows.messages import Messages
from chathub.database.rows.model_rests import ModelRests
from chathub.database.rows.model_targets import ModelTargets
from chathub.database.rows.models import Models
from chathub.database.rows.old_rows import OldRows
from chathub.database.rows.output_rates import OutputRates
from chathub.database.rows.parts import Parts
from chathub.database.rows.personal_tokens import PersonalTokens
from chathub.database.rows.providers import Providers
from chathub.database.rows.responses import Responses
from chathub.database.rows.schema import Schema
from chathub.database.rows.sessions import Sessions
from chathub.database.rows.settings import Settings
from chathub.database.rows.throttles import Throttles
from chathub.database.rows.token_weights import TokenWeights
from chathub.database.rows.usage import Usage
from chathub.database.rows.users import Users
from chathub.database.rows.verification_codes import VerificationCodes
from chathub.database.statements import QueryError, Statements

_HEADER = re.compile(r"^-- name: (\w+)\s*$")


def sql_folder() -> Path:
    """The folder of the SQL files: inside the installed package, or beside it in a checkout.

    ``importlib.resources`` does not find the folder in an editable install.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "sql", package.parent / "sql"):
        if (folder / "queries").is_dir():
            return folder
    raise QueryError("the folder sql/ is missing: the installation is incomplete")


class Queries:
    """All query files of a folder, as attributes."""

    api_keys: ApiKeys
    audit: Audit
    budgets: Budgets
    clock: Clock
    conversations: Conversations
    deleted_conversations: DeletedConversations
    exports: Exports
    files: Files
    idempotency: Idempotency
    invites: Invites
    leaving_users: LeavingUsers
    ledger: Ledger
    limits: Limits
    login_networks: LoginNetworks
    messages: Messages
    model_rests: ModelRests
    model_targets: ModelTargets
    models: Models
    old_rows: OldRows
    output_rates: OutputRates
    parts: Parts
    personal_tokens: PersonalTokens
    providers: Providers
    responses: Responses
    schema: Schema
    sessions: Sessions
    settings: Settings
    throttles: Throttles
    token_weights: TokenWeights
    usage: Usage
    users: Users
    verification_codes: VerificationCodes

    def __init__(self, folder: Path) -> None:
        self._files = {path.stem: parse(path) for path in sorted(folder.glob("*.sql"))}
        declared: dict[str, type[Statements]] = type(self).__annotations__
        if missing := set(declared) ^ set(self._files):
            raise QueryError(f"{folder} and the rows do not both have {', '.join(sorted(missing))}")
        for file, kind in declared.items():
            setattr(self, file, kind(file, self._files[file]))

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        return iter(self._files.items())


def parse(path: Path) -> dict[str, str]:
    """Split a file into its statements.

    Raises:
        QueryError: text before the first header, an empty statement, or a name given twice.
    """
    statements: dict[str, list[str]] = {}
    current: list[str] | None = None
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        if header := _HEADER.match(line):
            if header[1] in statements:
                raise QueryError(f"{path.name}:{number}: the name {header[1]!r} stands twice")
            current = statements.setdefault(header[1], [])
        elif current is not None:
            current.append(line)
        elif line.strip() and not line.startswith("--"):
            raise QueryError(f"{path.name}:{number}: text before the first '-- name:' header")
    result = {}
    for name, lines in statements.items():
        text = "\n".join(line for line in lines if not line.lstrip().startswith("--")).strip()
        if not text:
            raise QueryError(f"{path.name}: the statement {name!r} is empty")
        result[name] = text
    return result
