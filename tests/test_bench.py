"""The benchmark runs: every figure of it can be measured. What it measures is no matter of a test."""

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
async def test_a_figure_can_be_measured(name: str) -> None:
    code, output = await run("run.py", "--once", "--only", name)
    assert code == 0 and "not measured" not in output, output


async def test_every_figure_is_tried_here() -> None:
    code, output = await run("run.py", "--help")
    assert code == 0 and "--only {" + ",".join(FIGURES) + "}" in "".join(output.split("\n"))


async def test_how_long_the_loop_is_held_can_be_measured() -> None:
    code, output = await run("stalls.py", "--quick", "--only", "open", "--only", "delete")
    rows = re.findall(
        r"^a conversation of 10,000 messages (\w+) +[\d.]+ ms .* [\d.]+ s +\d+ MB$", output, re.M
    )
    assert code == 0 and rows == ["opened", "deleted"], output
