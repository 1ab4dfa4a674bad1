"""The registry of running work: what is stopped, what is waited for, and how it is drained."""

import asyncio

import pytest

from chathub.errors import Unavailable
from chathub.formats.messages import Endpoint
from chathub.running.registry import Registry, of_user, with_api_key


class Work:
    """A run that ends one step after it is stopped, as a cancelled task does."""

    def __init__(self, registry: Registry, user_id: int, key_id: int | None = None) -> None:
        self.registry = registry
        self.user_id = user_id
        self.endpoint = Endpoint("http://127.0.0.1", key_id=key_id) if key_id else None
        self.excluded: list[int] = []
        self.stops = 0
        registry.add(self)

    @property
    def has_left(self) -> bool:
        return False

    def exclude_key(self, key_id: int) -> None:
        self.excluded.append(key_id)

    def stop(self) -> None:
        self.stops += 1
        asyncio.get_running_loop().call_soon(self.registry.remove, self)


@pytest.fixture
def registry() -> Registry:
    return Registry()


async def test_stop_returns_when_the_runs_of_the_user_are_removed(registry: Registry) -> None:
    mine, other = Work(registry, 1), Work(registry, 2)
    await registry.stop(of_user(1))
    assert (mine.stops, other.stops) == (1, 0)
    assert list(registry._runs) == [other]


async def test_a_removed_key_stops_its_runs_and_is_excluded_from_all(registry: Registry) -> None:
    user, other, unsent = Work(registry, 1, key_id=7), Work(registry, 1, key_id=8), Work(registry, 1)
    await registry.stop(with_api_key(7))
    assert [work.stops for work in (user, other, unsent)] == [1, 0, 0]
    assert 7 in user.excluded and 7 in other.excluded and 7 in unsent.excluded


async def test_stop_waits_for_a_turn_that_is_being_begun_and_stops_its_run(registry: Registry) -> None:
    stored = asyncio.Event()

    async def begin() -> Work:
        await stored.wait()
        return Work(registry, 1)

    beginning = registry.begin(1, begin())
    stopping = asyncio.create_task(registry.stop(of_user(1)))
    await asyncio.sleep(0)
    assert not stopping.done()
    stored.set()
    await stopping
    assert (await beginning).stops == 1


async def test_the_turns_of_others_are_not_waited_for(registry: Registry) -> None:
    stored = asyncio.Event()
    beginning = registry.begin(2, stored.wait())
    await registry.wait_begun(1)
    assert not beginning.done()
    stored.set()
    await registry.wait_begun(2)
    assert beginning.done()


async def test_drain_refuses_what_is_new_and_waits_for_runs_and_tasks(registry: Registry) -> None:
    work, ended = Work(registry, 1), asyncio.Event()
    registry.spawn(ended.wait())
    draining = asyncio.create_task(registry.drain(60))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        registry.check_open()
    work.stop()
    await asyncio.sleep(0)
    assert not draining.done()
    ended.set()
    await draining


async def test_drain_ends_when_its_time_is_over_or_nothing_runs(registry: Registry) -> None:
    await registry.drain(60)
    Work(registry, 1)
    await registry.drain(0)


async def test_close_interrupts_also_what_begins_while_it_waits(registry: Registry) -> None:
    stored, interrupted = asyncio.Event(), asyncio.Event()

    async def begin() -> None:
        await stored.wait()
        registry.spawn(interrupted.wait())

    registry.begin(1, begin())
    calls = []

    def interrupt() -> None:
        calls.append(stored.is_set())
        (interrupted if stored.is_set() else stored).set()

    await registry.close(interrupt)
    assert calls == [False, True]
