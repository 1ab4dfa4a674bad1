"""A user's new mail address, which counts when a code that was sent to it is entered."""

from chathub.accounts import users
from chathub.accounts.bootstrap import is_made_up
from chathub.accounts.codes import Codes, for_email, use_code
from chathub.accounts.users import Account, Changes
from chathub.config import Config
from chathub.database.transaction import Transaction
from chathub.errors import Conflict
from chathub.security.audit import Actor
from chathub.sentences import sentence


def confirm(
    tx: Transaction, codes: Codes, user_id: int, email: str, code: str, actor: Actor, now: int
) -> tuple[str, Account] | None:
    """Give a user the address to which the code was sent, and use up the code; gives the old address and the
    account. None: the code is wrong, and the wrong try is counted.

    Raises:
        Conflict: meanwhile the address is another user's. Only who reads its mail learns this.
    """
    user = users.get_own(tx, user_id).user
    if not use_code(tx, codes, for_email(user), email, code, actor.address, now):
        return None
    owner = tx.one(tx.q.users.get_by_email, email_key=users.comparable(email))
    if owner is not None and owner.id != user_id:
        raise Conflict("email_taken")
    return user.email, users.update(tx, user_id, Changes(email=email), actor, now)


def send_notice(codes: Codes, config: Config, old_email: str, username: str) -> None:
    """Tell the old address, in the background, that it is no longer the account's."""
    mailer, language = codes.require_mailer(), config.language
    if is_made_up(old_email, config):
        return
    text = sentence("email_changed_text", language, {"username": username})
    subject = sentence("email_changed_subject", language, {})

    async def send() -> None:
        await mailer.send(old_email, subject, text)

    mailer.send_later(send)
