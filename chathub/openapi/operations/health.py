"""Section 1: health."""

from chathub.handlers import health
from chathub.openapi.operation import Operation, Operations, json
from chathub.schemas.health import Health

OPERATIONS: Operations = {
    health.check: Operation(
        id="checkHealth",
        summary="Whether the server is healthy",
        description="200 for as long as the server responds. `status` is `degraded` where the database "
        "cannot be used as usual; `message` says why. It recovers by itself once the reason is gone.",
        answers=[json(Health)],
    ),
}
