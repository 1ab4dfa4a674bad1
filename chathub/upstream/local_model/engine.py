"""The built-in model: a child process that is started at first use and spoken to like any other provider.

It is a process of its own because loading holds the GIL for seconds, and a C++ abort would take the server
along. This module knows when the child runs and where it answers; what goes over HTTP is `client`'s matter.
"""

import asyncio
import contextlib
import importlib.util
import json
import logging
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

CHILD = Path(__file__).with_name("child.py")
ENGINE = "xllamacpp"
INSTALL = "pip install '.[local]'"
# What a program needs to run at all; everything else, such as a provider's key, stays here.
ENVIRONMENT = {"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"}
ENVIRONMENT |= {"TMPDIR", "TEMP", "TMP", "SYSTEMROOT"}
LOG_BYTES = 4000
STOPPED = "本地模型已停止"
POLITE_SECONDS = 2.0
LONGEST_COOL_DOWN = 60.0
KILLED = -9  # exit codes as asyncio gives them; `signal` lacks these names on Windows
ILLEGAL_INSTRUCTION = {-4, 0xC000001D}  # SIGILL; Windows' STATUS_ILLEGAL_INSTRUCTION


class LocalModelError(Exception):
    """The local model cannot answer; ``str(error)`` is a Chinese sentence fit to show a user.

    ``log`` is the end of what the child wrote: for the operator, it may hold paths.
    """

    def __init__(self, sentence: str, log: str = "") -> None:
        super().__init__(sentence)
        self.log = log


class LocalModel:
    """One GGUF file, served by at most one child process.

    ``context`` is the tokens of one conversation and ``parallel`` how many are answered at once (memory
    grows with their product); ``max_tokens`` and ``temperature`` hold where a request names none;
    ``threads``: None takes all cores but one. The child ends after ``idle_seconds`` without a lease.
    Belongs to the event loop of its first lease; whoever made it calls `close`.
    """

    def __init__(
        self,
        path: Path,
        alias: str,
        *,
        context: int = 4096,
        parallel: int = 2,
        max_tokens: int = 1024,
        temperature: float = 0.7,
        threads: int | None = None,
        start_seconds: float = 120,
        idle_seconds: float = 900,
        child: Path = CHILD,
    ) -> None:
        self._path = path
        self._settings = {
            "alias": alias,
            "context": context,
            "parallel": parallel,
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        self._threads = threads
        self._start_seconds = start_seconds
        self._idle_seconds = idle_seconds
        self._program = child
        self._child: _Child | None = None
        self._turn = asyncio.Lock()  # one start or stop at a time: memory may not hold two models
        self._starting: asyncio.Task[_Child | None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._leases = 0
        self._closed = False
        self._failure = LocalModelError("")
        self._failures = 0
        self._retry_at = 0.0

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[tuple[str, str]]:
        """``(base_url, api_key)`` of a running child, which is not idle-stopped inside the block.

        Starts the child if none runs. Raises LocalModelError; after a failing start at once, with the
        last reason, until the cool-down (2, 4, 8 … 60 s) is over.
        """
        self._leases += 1
        self._disarm()
        try:
            child = await self._running()
            yield child.base_url, child.key
        finally:
            self._leases -= 1
            if not self._leases and not self._closed:
                self._timer = asyncio.get_running_loop().call_later(self._idle_seconds, self._idle)

    async def close(self) -> None:
        """Stop the child, also one that is starting; leases after this raise LocalModelError."""
        self._closed = True
        self._disarm()
        if self._child:
            await self._child.stop()
        if tasks := {task for task in (self._starting, self._stopping) if task}:
            await asyncio.wait(tasks)

    async def _running(self) -> "_Child":
        if self._closed:
            raise LocalModelError(f"{STOPPED}。")
        if self._child and self._child.alive:
            return self._child
        if self._starting is None or self._starting.done():
            if asyncio.get_running_loop().time() < self._retry_at:
                raise LocalModelError(str(self._failure), self._failure.log)
            # A task of its own: the first asker may leave while others wait for the same child.
            self._starting = asyncio.create_task(self._start())
        starting = self._starting
        await asyncio.wait({starting})
        if self._closed:
            raise LocalModelError(f"{STOPPED}。")
        if child := starting.result():
            return child
        raise LocalModelError(str(self._failure), self._failure.log)

    async def _start(self) -> "_Child | None":
        """The new child, or None with the reason kept: an exception here might find nobody waiting."""
        async with self._turn:
            if self._closed:
                return None
            self._child = _Child()
            try:
                await self._child.start(self._program, self._child_settings(), self._start_seconds)
            except LocalModelError as error:
                self._cool_down(error)
                return None
            self._failures = 0
            return self._child

    def _child_settings(self) -> dict[str, Any]:
        if not self._path.is_file():
            raise _failed(f"找不到模型文件 {self._path.name}")
        threads = self._threads or spare_cores()
        model = str(self._path.absolute())
        return self._settings | {"model": model, "threads": threads, "packages": engine_folder()}

    def _cool_down(self, error: LocalModelError) -> None:
        self._failure = error
        self._failures += 1
        pause = min(LONGEST_COOL_DOWN, 2.0**self._failures)
        self._retry_at = asyncio.get_running_loop().time() + pause
        if not self._closed:
            _warn(str(error), error.log)

    def _idle(self) -> None:
        self._timer = None
        self._stopping = asyncio.create_task(self._stop_if_idle())

    async def _stop_if_idle(self) -> None:
        async with self._turn:
            if self._child and not self._leases:
                child, self._child = self._child, None  # before the await: no lease may take it now
                await child.stop()

    def _disarm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None


class _Child:
    """One process from start to end; never started twice."""

    def __init__(self) -> None:
        self.base_url = ""
        self.key = secrets.token_urlsafe(24)
        self._process: asyncio.subprocess.Process | None = None
        self._follower: asyncio.Task[None] | None = None
        self._tail = b""
        self._ending = False

    @property
    def alive(self) -> bool:
        """Whether it answers; false while it loads and once it is to end."""
        running = self._process is not None and self._process.returncode is None
        return running and bool(self.base_url) and not self._ending

    async def start(self, program: Path, settings: dict[str, Any], seconds: float) -> None:
        """Return when the model is loaded; on any failure the process is gone before this raises."""
        try:
            async with asyncio.timeout(seconds):
                await self._spawn(program)
                await self._hear(settings | {"key": self.key})
        except TimeoutError:
            await self.stop()
            raise _failed(f"在 {seconds:g} 秒内没有就绪", self._log) from None
        except OSError as error:
            await self.stop()
            raise _failed("无法启动推理进程", f"{self._log}\n{error}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the process and wait until it is gone. A loaded one ends by itself when its stdin closes."""
        self._ending = True
        process, follower = self._process, self._follower
        if process is None or follower is None:
            return
        if process.stdin:
            process.stdin.close()
        if not self.base_url:
            self._kill()  # while it loads, it hears nothing
        done, _ = await asyncio.wait({follower}, timeout=POLITE_SECONDS)
        if not done:
            self._kill()
            await asyncio.wait({follower})

    async def _spawn(self, program: Path) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", str(program), stdin=pipe, stdout=pipe, stderr=pipe,
            env={name: value for name, value in os.environ.items() if name.upper() in ENVIRONMENT},
            start_new_session=True,  # Ctrl-C in a terminal is for the server, which then stops the child
        )  # fmt: skip
        self._follower = asyncio.create_task(self._follow(self._process))
        if self._ending:  # stopped while it was born
            raise _failed(STOPPED)

    async def _hear(self, settings: dict[str, Any]) -> None:
        """Send the settings and wait for the line that says how loading went."""
        process = self._process
        assert process and process.stdin and process.stdout and self._follower
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # it died before it read: its exit code says why
            await process.stdin.drain()
        try:
            answer = json.loads(await process.stdout.readline())
        except ValueError:  # nothing, or not ours: it ended without a word
            answer = {}
        if url := answer.get("url"):
            self.base_url = f"{url}/v1"
            return
        await asyncio.wait({self._follower})
        error, detail = answer.get("error", ""), answer.get("detail", "")
        tail = f"{self._log}\n{error}: {detail}" if error else self._log
        raise _failed(_reason(error, detail, process.returncode), tail)

    async def _follow(self, process: asyncio.subprocess.Process) -> None:
        """Keep the end of the child's log, so that its pipe never fills, and notice its own end."""
        assert process.stderr
        while chunk := await process.stderr.read(LOG_BYTES):
            self._tail = (self._tail + chunk)[-LOG_BYTES:]
        code = await process.wait()
        if self.base_url and not self._ending:
            _warn(f"the local model's process ended by itself ({code})", self._log)

    def _kill(self) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    @property
    def _log(self) -> str:
        return self._tail.decode("utf-8", "replace").strip()


def available() -> str | None:
    """None if the engine is installed, else a sentence that says how to install it. Imports nothing."""
    if importlib.util.find_spec(ENGINE) is None:
        return f"未安装本地模型的推理引擎，请运行 {INSTALL}"
    return None


def engine_folder() -> str | None:
    """The folder that holds the engine this process would import; None if there is none."""
    spec = importlib.util.find_spec(ENGINE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return str(Path(spec.submodule_search_locations[0]).parent.absolute())


def spare_cores() -> int:
    """The cores this process may use, less one: with all of them in use, one more busy process cost the
    engine nine tenths of its speed (measured)."""
    usable = getattr(os, "sched_getaffinity", None)  # Linux only
    return max(1, (len(usable(0)) if usable else os.cpu_count() or 1) - 1)


def _reason(error: str, detail: str, code: int | None) -> str:
    if error == "ModuleNotFoundError":
        return f"未安装推理引擎，请运行 {INSTALL}"
    if error == "ImportError" and "libgomp" in detail:
        return "系统缺少 libgomp，请运行 apt install libgomp1"
    if error == "ImportError":
        return "推理引擎不能在此系统上加载"
    if error == "RuntimeError":
        return "模型文件无法加载，可能已损坏、不受支持，或内存不足"
    if error:
        return f"推理引擎出错（{error}）"
    if code in ILLEGAL_INSTRUCTION:
        return "此 CPU 缺少推理引擎所需的指令集（x86-64 需要 AVX2）"
    if code == KILLED:
        return "进程被系统终止，可能是内存不足"
    return f"推理进程意外退出（代码 {code}）"


def _warn(sentence: str, output: str) -> None:
    """A warning with what the engine printed, a line for each of its lines."""
    for line in (sentence, *output.splitlines()):
        log.warning("%s", line)


def _failed(reason: str, log: str = "") -> LocalModelError:
    return LocalModelError(f"本地模型启动失败：{reason}。", log)
