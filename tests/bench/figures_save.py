"""Figure 10: the cost of saving once a second the new text of many running replies."""

from __future__ import annotations

import statistics
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from figures_requests import Plan
from processes import ROOT
from table import Figure

if TYPE_CHECKING:
    from chathub.database.transaction import Transaction
    from chathub.replies.reply import Reply

_REPLIES = 200
# the text of each second: ten chunks of a fast model, in Chinese
_NEW = "这是一段正在生成的文字。" * 10


async def save(plan: Plan) -> list[Figure]:
    """CPU time of a round of saves, all threads, as a share of one core (a round a second)."""
    sys.path.insert(0, str(ROOT))
    from chathub.database.database import Database
    from chathub.database.migrations import migrate
    from chathub.database.queries import Queries, sql_folder
    from chathub.formats.events import Text
    from chathub.replies import saving

    folder = sql_folder()
    db = Database(plan.folder / "save.db", Queries(folder / "queries"))
    await db.open()
    try:
        await db.run_bare(partial(migrate, folder=folder / "migrations"))
        replies = await db.write(_begin, plan.pick(_REPLIES, _REPLIES, 2))
        costs = []
        for _ in range(plan.pick(40, 10)):
            for reply in replies:
                reply.feed([Text(_NEW)])
            began = time.process_time()
            fresh = saving.collect(replies)
            await db.write(saving.save, fresh)
            costs.append((time.process_time() - began) * 100)
            if len(fresh) < len(replies):
                raise RuntimeError(f"only {len(fresh)} of {len(replies)} replies were saved")
    finally:
        await db.close()
    middle = statistics.median(costs)
    shown = f"{middle:.2f} ({min(costs):.2f}) %"
    return [Figure(f"core taken by saving {len(replies)} live replies", shown, "", middle, 2.0, "%")]


def _begin(tx: Transaction, count: int) -> list[Reply]:
    """Begin so many turns, each with a message in a new conversation."""
    from chathub.accounts import users
    from chathub.billing.budgets import BudgetOwner, UsageBound
    from chathub.chat.begin_turn import begin_turn
    from chathub.chat.turn import BranchPoint, NewTurn, Prompt
    from chathub.clock import Clock
    from chathub.providers.chat_model import ChatModel
    from chathub.providers.prices import Prices
    from chathub.replies.reply import Reply

    clock = Clock()
    account = users.UserFields(username="bench", email="b@example.com", password_hash="")
    user = users.insert(tx, account, clock.now()).user
    model = ChatModel("m", 0, "p", "P", "", needs_key=False)
    replies = []
    for number in range(count):
        beginning = NewTurn(
            branch_point=BranchPoint("new", f"c{number}", fresh=True),
            owner=BudgetOwner(user.id, None, clock.month()),
            bound=UsageBound(prompt=1, reply=1, prices=Prices()),
            longest=lambda _: 1,
            prompt=Prompt("Why is the sky blue?"),
            options={},
            idempotency_key=None,
            requested_model=model.name,
            model=model.name,
            provider=model.provider_slug,
            history_characters=0,
            supports_vision=False,
            refusal=None,
            untitled="",
        )
        reply = Reply(begin_turn(tx, beginning, {}, ()), user.id, model.name, 10_000_000)
        reply.use_model(model)
        replies.append(reply)
    return replies
