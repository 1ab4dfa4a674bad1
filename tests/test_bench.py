"""The benchmark runs: every figure can be measured. The measured values are not tested."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench"
FIGURES = re.findall(r'^    "(\w+)": figures_', (BENCH / "run.py").read_text("utf-8"), re.M)


async def run(program: str, *arguments: str) -> tuple[int | None, str]:
    """Run a benchmark; gives its exit code and what it printed, errors included."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        BENCH / program,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, output.decode()


@pytest.mark.parametrize("name", FIGURES)
async def test_figure_can_be_measured(name: str) -> None:
    code, output = await run("run.py", "--once", "--only", name)
    assert code == 0 and "not measured" not in output, output


async def test_every_figure_of_the_benchmark_is_tested() -> None:
    code, output = await run("run.py", "--help")
    assert code == 0 and "--only {" + ",".join(FIGURES) + "}" in "".join(output.split("\n"))


async def test_event_loop_stalls_can_be_measured() -> None:
    code, output = await run("stalls.py", "--quick", "--only", "open", "--only", "delete")
    rows = re.findall(
        r"^a conversation of 10,000 messages (\w+) +[\d.]+ ms .* [\d.]+ s +\d+ MB$", output, re.M
    )
    assert code == 0 and rows == ["opened", "deleted"], output
