"""The front end and the page without one in a real browser, under their policies."""

import dataclasses
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Connect
from frontend.build import SCRIPT, write_build

from chathub.config import Config

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@asynccontextmanager
async def browser(**context: Any) -> AsyncIterator[Any]:
    """A page of a new browser."""
    async with playwright.async_playwright() as started:
        chromium = await started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            made = await chromium.new_context(**context)
            yield await made.new_page()
        finally:
            await chromium.close()


async def test_front_end_runs_and_what_a_reply_brings_in_does_not(
    config: Config, connect: Connect, tmp_path: Path
) -> None:
    client = await connect(dataclasses.replace(config, frontend=write_build(tmp_path / "dist")))
    async with browser() as page:
        refused: list[str] = []
        page.on("console", lambda said: refused.append(said.text))
        await page.goto(str(client.make_url("/chat/42")))
        await playwright.expect(page.locator("#answer")).to_have_text("healthy")
        # the page, its inline script, its inline style and its event handler
        assert await page.locator("h1").inner_text() == "/chat/42"
        assert await page.evaluate("window.inline") == "ran"
        color = await page.evaluate("getComputedStyle(document.querySelector('h1')).color")
        assert color == "rgb(1, 2, 3)"
        await page.click("#copy")
        assert await page.get_attribute("#copy", "data-copied") == "yes"
        # the reply: its image of our own is shown; its handlers, frame, link and foreign image do nothing
        await page.click("#link")
        assert await page.evaluate("document.getElementById('ours').naturalWidth") == 1
        assert await page.evaluate("window.stolen") is None
        assert await page.evaluate("window.refused") is True
        assert any("img-src" in text for text in refused) and any("connect-src" in text for text in refused)


async def test_browser_takes_hashed_files_from_its_cache_and_asks_for_the_page(
    config: Config, connect: Connect, tmp_path: Path
) -> None:
    folder = write_build(tmp_path / "dist")
    client = await connect(dataclasses.replace(config, frontend=folder))
    url = str(client.make_url("/"))
    async with browser() as page:
        await page.goto(url)
        await playwright.expect(page.locator("#answer")).to_have_text("healthy")
        (folder / SCRIPT).write_text("document.title = 'must not be read'")
        (folder / "index.html").write_text((folder / "index.html").read_text().replace("first", "second"))
        await page.goto(url)
        await playwright.expect(page.locator("#answer")).to_have_text("healthy")
        assert await page.title() == "second"


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_page_without_a_front_end_fits_and_breaks_no_policy(
    config: Config, connect: Connect, width: int, scheme: str
) -> None:
    client = await connect()
    async with browser(viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
        said: list[str] = []
        asked: list[str] = []
        page.on("console", lambda each: said.append(each.text))
        page.on("request", lambda each: asked.append(each.url))
        url = str(client.make_url("/"))
        await page.goto(url)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == ("rgb(246, 247, 249)" if scheme == "light" else "rgb(20, 23, 28)")
        assert await page.locator("section").count() == 2
        # nothing is loaded from anywhere
        assert [each for each in asked if not each.startswith("data:")] == [url] and said == []
