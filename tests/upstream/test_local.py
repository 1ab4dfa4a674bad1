"""The built-in model's child process.

Most tests run a stand-in that uses the child's protocol; those that need the engine run when xllamacpp is
installed and CHATHUB_TEST_WEIGHTS names a GGUF file.
"""

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from chathub.upstream.local_model import engine as engine_module
from chathub.upstream.local_model import process as process_module
from chathub.upstream.local_model.engine import LocalModel
from chathub.upstream.local_model.process import LocalModelError

ROOT = Path(__file__).parents[2]
STAND_IN = """
import json, os, signal, sys, time
from pathlib import Path
settings = json.loads(sys.stdin.buffer.readline())
model = Path(settings["model"])
with open(f"{model}.starts", "a") as starts:
    print(os.getpid(), file=starts, flush=True)
Path(f"{model}.seen").write_text(json.dumps([settings, dict(os.environ)]))
plan = json.loads(model.read_text())
sys.stderr.write(plan.get("log", ""))
sys.stderr.flush()
time.sleep(plan.get("sleep", 0))
if "signal" in plan:
    os.kill(os.getpid(), plan["signal"])
if "say" in plan:
    print(json.dumps(plan["say"]), flush=True)
    sys.exit(3)
print(json.dumps({"url": f"http://127.0.0.1:1/{os.getpid()}"}), flush=True)
sys.stdin.buffer.read()
"""
PARENT = """
import asyncio, sys
from pathlib import Path
from chathub.upstream.local_model.engine import LocalModel
async def main():
    async with LocalModel(Path(sys.argv[1]), "test", child=Path(sys.argv[2])).lease():
        print("leased", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
FAKE_ENGINE = """
import json, sys
from types import SimpleNamespace as Space
def CommonParams():
    return Space(model=Space(), sampling=Space(), cpuparams=Space(), cpuparams_batch=Space())
class Server:
    listening_address = "http://127.0.0.1:4321"
    def __init__(self, params):
        print("stray words of the engine", flush=True)
        if params.model.path == "bad":
            raise RuntimeError("Failed to init server")
        print(json.dumps(vars(params), default=lambda x: list(x) if isinstance(x, set) else vars(x)),
              file=sys.stderr, flush=True)
"""

Make = Callable[..., LocalModel]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Create local models whose child is the stand-in; the model's file says what it does."""
    child = tmp_path / "stand_in.py"
    child.write_text(STAND_IN)
    made: list[LocalModel] = []

    def make(plan: dict[str, Any], **options: Any) -> LocalModel:
        (tmp_path / "model").write_text(json.dumps(plan))
        made.append(LocalModel(tmp_path / "model", "test", child=child, **options))
        return made[-1]

    yield make
    for model in made:
        await model.close()


def starts(tmp_path: Path) -> list[int]:
    """The process ids of the children so far."""
    file = tmp_path / "model.starts"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def pid_of(base_url: str) -> int:
    return int(base_url.split("/")[3])


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")  # an orphan may stay as a zombie where init reaps nothing
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (another process ends, no event tells)
            await asyncio.sleep(0.01)


async def lease_once(model: LocalModel) -> tuple[str, str]:
    async with model.lease() as leased:
        return leased


async def test_no_child_starts_before_the_first_lease(make: Make, tmp_path: Path) -> None:
    make({})
    await asyncio.sleep(0.1)
    assert starts(tmp_path) == []


async def test_three_concurrent_first_requests_start_one_child(make: Make, tmp_path: Path) -> None:
    model = make({"sleep": 0.2})
    leased = await asyncio.gather(*(lease_once(model) for _ in range(3)))
    assert len(set(leased)) == 1
    assert starts(tmp_path) == [pid_of(leased[0][0])]
    assert leased[0][0].startswith("http://127.0.0.1:") and leased[0][0].endswith("/v1")


async def test_cancelled_first_request_does_not_end_the_child(make: Make, tmp_path: Path) -> None:
    model = make({"sleep": 0.3})
    first, second = asyncio.create_task(lease_once(model)), asyncio.create_task(lease_once(model))
    await until(lambda: bool(starts(tmp_path)))
    first.cancel()
    await second
    assert first.cancelled()
    assert len(starts(tmp_path)) == 1


async def test_crashed_child_is_replaced_with_a_new_key(make: Make, tmp_path: Path) -> None:
    model = make({})
    base_url, key = await lease_once(model)
    os.kill(pid_of(base_url), signal.SIGKILL)
    new_url, new_key = base_url, key
    async with asyncio.timeout(30):
        while new_url == base_url:  # the loop learns of the exit a moment after the kernel
            await asyncio.sleep(0.01)
            new_url, new_key = await lease_once(model)
    assert runs(pid_of(new_url))
    assert new_key != key and len(new_key) >= 32
    assert len(starts(tmp_path)) == 2


async def test_idle_child_ends_and_the_next_request_starts_another(make: Make) -> None:
    model = make({}, idle_seconds=0.2)
    first = pid_of((await lease_once(model))[0])
    assert runs(first)
    await until(lambda: not runs(first))
    assert runs(pid_of((await lease_once(model))[0]))


async def test_leased_child_is_not_idle(make: Make, tmp_path: Path) -> None:
    model = make({}, idle_seconds=0.1)
    await lease_once(model)  # arms the timer, which the next lease must disarm
    async with model.lease() as (base_url, _):
        await lease_once(model)  # a shorter request beside it must not arm it either
        await asyncio.sleep(0.4)
        assert runs(pid_of(base_url))
    assert len(starts(tmp_path)) == 1


async def test_each_lease_restarts_the_idle_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make({}, idle_seconds=100)
    loop, offset = asyncio.get_running_loop(), 0.0
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + offset)
    child = pid_of((await lease_once(model))[0])
    for _ in range(3):
        offset += 60
        await asyncio.sleep(0.05)
        assert pid_of((await lease_once(model))[0]) == child
        assert runs(child)
    offset += 101
    await until(lambda: not runs(child))


async def test_lease_taken_when_the_idle_time_ends_keeps_the_child(make: Make) -> None:
    model = make({}, idle_seconds=100)
    await lease_once(model)
    model._idle()  # the timer fired, its task has not run yet
    async with model.lease() as (base_url, _):
        await asyncio.sleep(0.1)
        assert runs(pid_of(base_url))


async def test_child_whose_requests_were_all_cancelled_becomes_idle(make: Make, tmp_path: Path) -> None:
    model = make({"sleep": 0.3}, idle_seconds=0.05)
    asker = asyncio.create_task(lease_once(model))
    await until(lambda: bool(starts(tmp_path)))
    asker.cancel()
    await until(lambda: not runs(starts(tmp_path)[0]))


async def test_close_ends_the_child_and_may_be_called_twice(make: Make) -> None:
    model = make({})
    async with AsyncExitStack() as stack:
        base_url, _ = await stack.enter_async_context(model.lease())
        await asyncio.gather(model.close(), model.close())
        assert not runs(pid_of(base_url))
    with pytest.raises(LocalModelError, match="local model has been stopped"):
        await lease_once(model)


async def test_close_ends_a_child_that_is_still_loading(make: Make, tmp_path: Path) -> None:
    model = make({"sleep": 60})
    asker = asyncio.create_task(lease_once(model))
    await until(lambda: bool(starts(tmp_path)))
    async with asyncio.timeout(30):
        await model.close()
    assert not runs(starts(tmp_path)[0])
    with pytest.raises(LocalModelError, match="local model has been stopped"):
        await asker


@pytest.mark.parametrize("turns", range(4))
async def test_close_ends_a_child_that_is_being_started(make: Make, tmp_path: Path, turns: int) -> None:
    model = make({"sleep": 60})
    asker = asyncio.create_task(lease_once(model))
    for _ in range(turns):
        await asyncio.sleep(0)
    await model.close()
    with pytest.raises(LocalModelError, match="local model has been stopped"):
        await asker
    assert not any(runs(pid) for pid in starts(tmp_path))


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"say": {"error": "ModuleNotFoundError", "detail": "x"}}, r"pip install '\.\[local\]'"),
        ({"say": {"error": "ImportError", "detail": "libgomp.so.1: cannot open"}}, "apt install libgomp1"),
        ({"say": {"error": "ImportError", "detail": "GLIBC_2.99"}}, "cannot be loaded on this system"),
        (
            {"say": {"error": "RuntimeError", "detail": "Failed to init server"}},
            "the model file cannot be loaded",
        ),
        ({"say": {"error": "AttributeError", "detail": "port"}}, r"engine failed \(AttributeError\)"),
        ({"signal": signal.SIGILL}, "AVX2"),
        ({"signal": signal.SIGKILL}, "memory may be short"),
        ({"signal": signal.SIGABRT}, r"ended unexpectedly \(code -6\)"),
    ],
)
async def test_failed_start_raises_a_clear_error(make: Make, plan: dict[str, Any], reason: str) -> None:
    with pytest.raises(LocalModelError, match=f"^The local model could not be started: .*{reason}") as caught:
        await lease_once(make(plan | {"log": "words for the operator\n"}))
    assert "words for the operator" in caught.value.log
    assert "operator" not in str(caught.value)


async def test_missing_weights_file_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match=r"no model file gone\.gguf"):
        await lease_once(LocalModel(tmp_path / "gone.gguf", "test"))


async def test_start_that_takes_too_long_is_ended(make: Make, tmp_path: Path) -> None:
    model = make({"sleep": 60}, start_seconds=0.5)
    with pytest.raises(LocalModelError, match="not ready within 1 second"):
        await lease_once(model)
    assert not runs(starts(tmp_path)[0])


async def test_failed_starts_cool_down_for_growing_times(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make({"signal": signal.SIGILL})
    loop, offset = asyncio.get_running_loop(), 0.0
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + offset)
    for number, pause in enumerate([2, 4, 8, 16, 32, 60, 60], start=1):
        for early in (0.0, pause - 1.5):
            offset += early
            with pytest.raises(LocalModelError, match="AVX2"):
                await lease_once(model)
            assert len(starts(tmp_path)) == number
        offset += 1.5
    make({})  # the cause is removed
    assert (await lease_once(model))[0]


async def test_long_log_line_does_not_block_the_child(make: Make) -> None:
    assert await lease_once(make({"log": "x" * 500_000}, start_seconds=10))


async def test_child_gets_settings_but_no_secrets(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    _, key = await lease_once(make({}, context=512, parallel=3, max_tokens=7, threads=5))
    settings, environ = json.loads((tmp_path / "model.seen").read_text())
    assert "OPENAI_API_KEY" not in environ and "PATH" in environ
    assert settings["key"] == key
    assert [settings[name] for name in ("context", "parallel", "max_tokens", "threads")] == [512, 3, 7, 5]


def test_one_core_is_left_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2}, raising=False)
    assert engine_module.spare_cores() == 2
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    assert engine_module.spare_cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert engine_module.spare_cores() == 7


def test_missing_engine_is_reported_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "ENGINE", "no_such_engine")
    assert "pip install '.[local]'" in (engine_module.available() or "")
    assert engine_module.engine_folder() is None
    monkeypatch.setattr(engine_module, "ENGINE", "pytest")
    assert engine_module.available() is None
    assert engine_module.engine_folder() == str(Path(pytest.__file__).parents[1])
    assert "xllamacpp" not in sys.modules


def parent_of(model: Path, child: Path) -> subprocess.Popen[bytes]:
    """A program of its own that has a lease; returns once it has it."""
    command = [sys.executable, "-c", PARENT, str(model), str(child)]
    parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout and parent.stdout.readline() == b"leased\n"
    return parent


async def test_child_ends_when_its_parent_is_killed(make: Make, tmp_path: Path) -> None:
    make({})
    with parent_of(tmp_path / "model", tmp_path / "stand_in.py") as parent:
        child = starts(tmp_path)[0]
        assert runs(child)
        parent.kill()
    await until(lambda: not runs(child))


# The child's program itself, with a fake engine.


def run_child(tmp_path: Path, stdin: bytes, model: str) -> subprocess.CompletedProcess[bytes]:
    (tmp_path / "xllamacpp.py").write_text(FAKE_ENGINE)
    settings = {"model": model, "alias": "test", "key": "secret", "context": 512, "parallel": 3}
    settings |= {"max_tokens": 7, "temperature": 0.2, "threads": 5, "packages": str(tmp_path)}
    command = [sys.executable, "-I", "-S", str(engine_module.CHILD)]  # -S: not the real engine
    return subprocess.run(command, input=json.dumps(settings).encode() + b"\n" + stdin, capture_output=True)


def test_child_program_prints_its_address_once_and_ends_with_its_stdin(tmp_path: Path) -> None:
    done = run_child(tmp_path, b"", "good")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"url": "http://127.0.0.1:4321"}
    assert b"stray words of the engine" in done.stderr


def test_child_program_serves_loopback_only_and_requires_the_key(tmp_path: Path) -> None:
    params = json.loads(run_child(tmp_path, b"", "good").stderr.splitlines()[-1])
    assert params["hostnames"] == ["127.0.0.1"] and params["port"] == 0
    assert params["api_keys"] == ["secret"] and params["cors_origins"] == ""
    assert params["n_ctx"] == 3 * 512 and params["n_predict"] == 7 and params["cache_ram_mib"] == 0
    assert params["cpuparams"] == params["cpuparams_batch"] == {"n_threads": 5}


def test_child_program_reports_a_failure(tmp_path: Path) -> None:
    done = run_child(tmp_path, b"", "bad")
    assert done.returncode == 3
    assert json.loads(done.stdout) == {"error": "RuntimeError", "detail": "Failed to init server"}


# With the real engine.


@pytest.fixture
async def engine() -> AsyncIterator[LocalModel]:
    model = LocalModel(real_weights(), "tiny")
    yield model
    await model.close()


def real_weights() -> Path:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed (pip install '.[local]')")
    if not os.environ.get("CHATHUB_TEST_WEIGHTS"):
        pytest.skip("CHATHUB_TEST_WEIGHTS names no GGUF file")
    return Path(os.environ["CHATHUB_TEST_WEIGHTS"])


def question(stream: bool) -> dict[str, Any]:
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    return {
        "model": "tiny",
        "messages": messages,
        "stream": stream,
        "temperature": 0,
        "max_tokens": 40,
    }


async def test_real_model_replies_whole_and_streamed(engine: LocalModel) -> None:
    async with engine.lease() as (base_url, key), aiohttp.ClientSession(base_url + "/") as http:
        headers = {"Authorization": f"Bearer {key}"}
        async with http.post("chat/completions", json=question(False), headers=headers) as answer:
            assert (await answer.json())["choices"][0]["message"]["content"].strip()
        async with http.post("chat/completions", json=question(True), headers=headers) as answer:
            lines = [line.removeprefix(b"data: ").strip() async for line in answer.content if line.strip()]
        assert lines[-1] == b"[DONE]"
        deltas = [choice["delta"] for line in lines[:-1] for choice in json.loads(line)["choices"]]
        text = "".join(delta.get("content") or "" for delta in deltas)
        assert text.strip() and len(deltas) > 5


async def test_real_model_refuses_requests_without_the_key(engine: LocalModel) -> None:
    async with engine.lease() as (base_url, _), aiohttp.ClientSession(base_url + "/") as http:
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            async with http.post("chat/completions", json=question(False), headers=headers) as answer:
                assert answer.status == 401
            async with http.get("models", headers=headers | {"Origin": "https://evil.example"}) as answer:
                assert answer.status == 401
                assert not answer.headers.get("Access-Control-Allow-Origin")


async def test_real_engine_refuses_a_broken_weights_file(tmp_path: Path) -> None:
    real_weights()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    with pytest.raises(LocalModelError, match="the model file cannot be loaded") as caught:
        await lease_once(LocalModel(broken, "broken"))
    assert "broken.gguf" in caught.value.log


async def test_real_model_ends_by_itself_after_close(
    engine: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not need to be killed; on a busy machine the usual waiting time would be too short."""
    monkeypatch.setattr(process_module, "STOP_SECONDS", 30)
    await lease_once(engine)
    assert engine._child is not None
    process = engine._child._process
    await engine.close()
    assert process is not None and process.returncode == 0


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the child through Linux's /proc")
async def test_real_model_ends_when_its_parent_is_killed() -> None:
    with parent_of(real_weights(), engine_module.CHILD) as parent:
        child = child_of(parent.pid)
        parent.kill()
    await until(lambda: not runs(child))
