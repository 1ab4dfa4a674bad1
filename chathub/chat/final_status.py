"""How a reply ended, and why."""

from typing import Literal

from msgspec import Struct

from chathub.schemas.json import JsonObject
from chathub.sentences import Reason


class FinalStatus(Struct, frozen=True):
    """How a reply ended, and why. ``status`` is the message's, ``http_status`` that of an error (else 0)."""

    status: Literal["done", "stopped", "interrupted", "error"]
    reason: Reason | None = None
    http_status: int = 0
    finish_reason: str = ""
    retry_after: float | None = None


def status_columns(final_status: FinalStatus | None) -> JsonObject:
    """The columns of a message that say how the reply ended (None: it is still being generated)."""
    if final_status is None:
        return {
            "status": "streaming",
            "reason_json": "",
            "error_status": 0,
            "finish_reason": "",
            "retry_after": None,
        }
    return {
        "status": final_status.status,
        "reason_json": final_status.reason.encoded() if final_status.reason else "",
        "error_status": final_status.http_status,
        "finish_reason": final_status.finish_reason,
        "retry_after": final_status.retry_after,
    }


# of a reply that could not be stored yet
NOT_STORED = FinalStatus("error", Reason("not_stored", {"what": Reason("reply_kept")}), 503, "not_stored")
