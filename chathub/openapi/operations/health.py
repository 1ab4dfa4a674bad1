"""Section 1: health and metrics."""

from chathub.handlers import health, metrics
from chathub.openapi.operation import Content, Operation, Operations, json
from chathub.schemas.health import Health, Ready

OPERATIONS: Operations = {
    health.check: Operation(
        id="checkHealth",
        summary="Whether the server is healthy",
        description="200 for as long as the server responds. `status` is `degraded` where the database "
        "cannot be used as usual; `message` says why. It recovers by itself once the reason is gone.",
        responses=[json(Health)],
    ),
    health.ready: Operation(
        id="checkReady",
        summary="Whether chats are accepted",
        description="503 while the server ends, or cannot store anything: a load balancer then sends nothing "
        "here.",
        responses=[json(Ready)],
        errors={503: "not_stored"},
    ),
    metrics.show: Operation(
        id="getMetrics",
        summary="The metrics, for Prometheus",
        description="In Prometheus's text format. The scraper's own token is `CHATHUB_METRICS_TOKEN`.",
        responses=[Content("text/plain", None, "The metrics")],
        errors={501: "metrics_not_installed"},
    ),
}
