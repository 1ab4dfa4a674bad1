"""Section 12: the audit."""

from chathub.handlers import audit
from chathub.openapi.operation import Operation, Operations, json
from chathub.schemas.audit import AuditFilter, AuditPage

OPERATIONS: Operations = {
    audit.search: Operation(
        id="listAudit",
        summary="What administrators did, and what touches security",
        description="The newest first. An entry is written in the transaction of what it tells, and never "
        "changes. It has no password, API key or token.",
        query=[AuditFilter],
        responses=[json(AuditPage)],
    ),
}
