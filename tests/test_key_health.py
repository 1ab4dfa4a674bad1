"""How long an API key rests after a failure."""

import pytest

from chathub.formats.events import Failure
from chathub.providers.key_health import KeyHealth

NOW = 1_800_000_000_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
SPENT = Failure("no", status=429, code="insufficient_quota")


def wait(health: KeyHealth, failure: Failure) -> int:
    return health.after(failure, NOW).until - NOW


@pytest.mark.parametrize(
    ("failure", "waits"),
    [
        (Failure("slow", status=429), [5_000, 10_000, 20_000]),
        (Failure("slow", status=429, retry_after=90.0), [90_000, 90_000]),
        (SPENT, [MINUTE, 2 * MINUTE, 4 * MINUTE]),
        (Failure("no", status=404, code="model_not_found"), [MINUTE, 2 * MINUTE]),
        (Failure("no", status=503), [2_000, 4_000]),
    ],
)
def test_rest_is_longer_each_time(failure: Failure, waits: list[int]) -> None:
    health, seen, now = KeyHealth(), [], NOW
    for _ in waits:
        health = health.after(failure, now)
        seen.append(health.until - now)
        now = health.until + 1
    assert seen == waits


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (HOUR, HOUR),
        (31 * DAY, 31 * DAY),
        (-HOUR, MINUTE),
        (41 * DAY, MINUTE),
    ],
)
def test_used_up_quota_rests_until_the_named_moment_if_it_can_be_meant(after: int, expected: int) -> None:
    failure = Failure("no", status=429, code="insufficient_quota", regains_at=(NOW + after) / 1000)
    health = KeyHealth().after(failure, NOW)
    assert health.until - NOW == expected and health.is_paused(NOW + expected - 1)


def test_date_in_another_error_is_no_renewal() -> None:
    retired = Failure("no", status=404, code="model_not_found", regains_at=(NOW + DAY) / 1000)
    assert wait(KeyHealth(), retired) == MINUTE


@pytest.mark.parametrize(
    "failure",
    [
        Failure("no", status=400),
        Failure("no", status=403, form="page"),
        Failure("no", status=404),
        Failure("no", kind="busy"),
    ],
)
def test_failure_that_says_nothing_of_the_key_changes_nothing(failure: Failure) -> None:
    health = KeyHealth("cooling", NOW + HOUR, "no_credit", 3)
    assert health.after(failure, NOW) == health


def test_longer_pause_that_has_begun_is_kept() -> None:
    health = KeyHealth("cooling", NOW + HOUR, "no_credit", 1)
    assert health.after(Failure("down", status=503), NOW).until == NOW + HOUR
