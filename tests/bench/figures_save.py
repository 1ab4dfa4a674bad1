"""Figure 10: what it costs to write down, once a second, what is new of many replies in the making."""

import statistics
import sys
import time
from functools import partial

from figures_requests import Plan
from processes import ROOT
from table import Figure

_REPLIES = 200
# what a second brings to each: ten chunks of a fast model, in Chinese
_NEW = "这是一段正在生成的文字。" * 10


async def save(plan: Plan) -> list[Figure]:
    """CPU time of a round of checkpoints, all threads, as a share of one core (a round a second)."""
    sys.path.insert(0, str(ROOT))
    from chathub.chat import checkpoints
    from chathub.chat.reply import Reply
    from chathub.chat.turns import Turn
    from chathub.database.connection import Database
    from chathub.database.migrations import migrate
    from chathub.database.queries import Queries, sql_folder
    from chathub.upstream.types import Text

    folder = sql_folder()
    db = Database(plan.folder / "save.db", Queries(folder / "queries"))
    await db.open()
    try:
        await db.script(partial(migrate, folder=folder / "migrations"))
        ids = await db.write(_make_messages)
        replies = [Reply(Turn(1, "c", "t", 0, number), 1, "m", 10_000_000) for number in ids]
        costs = []
        for _ in range(10 if plan.quick else 40):
            for reply in replies:
                reply.feed([Text(_NEW)])
            began = time.process_time()
            await db.write(checkpoints.save, checkpoints.collect(replies))
            costs.append((time.process_time() - began) * 100)
    finally:
        await db.close()
    middle = statistics.median(costs)
    shown = f"{middle:.2f} ({min(costs):.2f}) %"
    return [Figure(f"core taken by saving {_REPLIES} live replies", shown, "", middle, 2.0, "%")]


def _make_messages(tx):  # type: ignore[no-untyped-def]
    from chathub.accounts import users

    user = users.insert(tx, username="bench", email="b@example.com", password_hash="", now=1)
    place = tx.one(tx.q.conversations.insert, public_id="c", user_id=user["id"], title="t", model="m", now=1)
    options = {"status": "streaming", "reason": "", "error_status": 0, "finish_reason": "", "provider": "p"}
    return [
        tx.add(
            tx.q.messages.insert_answer,
            conversation_id=place["id"],
            parent_id=None,
            model="m",
            now=1,
            **options,
        )
        for _ in range(_REPLIES)
    ]
