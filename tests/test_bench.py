"""The benchmark runs: every figure of it can be measured. What it measures is no matter of a test."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "bench" / "run.py"
FIGURES = re.findall(r'^    "(\w+)": figures_', PROGRAM.read_text("utf-8"), re.M)


async def run(*arguments: str) -> tuple[int | None, str]:
    """Run the benchmark; gives its exit code and what it printed, errors included."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
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
    code, output = await run("--once", "--only", name)
    assert code == 0 and "not measured" not in output, output


async def test_every_figure_is_tried_here() -> None:
    code, output = await run("--help")
    assert code == 0 and "--only {" + ",".join(FIGURES) + "}" in "".join(output.split("\n"))
