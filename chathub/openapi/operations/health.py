"""Section 1: health."""

from chathub.handlers import health
from chathub.openapi.operation import Operation, Operations, json
from chathub.schemas.health import Health, Ready

OPERATIONS: Operations = {
    health.check: Operation(
        id="checkHealth",
        summary="Whether the server is healthy",
        description="200 for as long as the server responds. `status` is `degraded` where the database "
        "cannot be used as usual; `message` says why. It recovers by itself once the reason is gone.",
        answers=[json(Health)],
    ),
    health.ready: Operation(
        id="checkReadiness",
        summary="Whether chats are accepted",
        description="Else 503 with the reason: for proxies that send requests elsewhere then.",
        answers=[json(Ready)],
        errors={503: "not_stored"},
    ),
}
