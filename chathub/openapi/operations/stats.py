"""Section 8: statistics, the ledger, subscriptions."""

from chathub.handlers import stats, subscriptions, usage
from chathub.openapi.operation import Content, Header, Operation, Operations, json
from chathub.schemas import stats as schemas
from chathub.schemas import subscriptions as subscription_schemas
from chathub.schemas.usage import UsageFilter, UsagePage

OPERATIONS: Operations = {
    stats.show: Operation(
        id="getStatistics",
        summary="What the caller used",
        responses=[json(schemas.Stats)],
    ),
    usage.show: Operation(
        id="listUsage",
        summary="The ledger: every attempt at a provider, or sums",
        description="The newest first; nothing is ever changed, and deleting conversations changes "
        "nothing. Administrators read all of it, or that of `user_id`; others their own. With `format=csv` "
        "all of it is downloaded: UTF-8 with a byte order mark, lines end with CRLF, the columns are the "
        "fields of the JSON, and a text that a spreadsheet would take for a formula has a `'` before it.",
        query=[UsageFilter],
        responses=[
            json(UsagePage, "Attempts, or sums with `group_by`"),
            Content("text/csv", None, "With `format=csv`"),
        ],
        headers=[Header("Content-Disposition", "The name of the file, with `format=csv`")],
        errors={403: "usage_of_others"},
    ),
    subscriptions.list_all: Operation(
        id="listSubscriptions",
        summary="List the subscriptions with their limits",
        responses=[json(subscription_schemas.SubscriptionList)],
    ),
    subscriptions.update: Operation(
        id="updateSubscription",
        summary="Change the limits of a subscription",
        description="They hold at once for all of its users who have no limit of their own.",
        body=subscription_schemas.SubscriptionChange,
        responses=[json(subscription_schemas.SubscriptionSaved)],
        errors={404: "subscription_not_found"},
    ),
}
