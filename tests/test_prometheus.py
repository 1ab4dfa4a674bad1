"""The dashboard and the alerts of ``deploy/``, with a real Prometheus that reads a real server."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from api.chats import add_model, chat
from conftest import sign_in
from processes import ChatHub
from scripted import Provider, reply

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = pytest.mark.skipif(not (PROMETHEUS and PROMTOOL), reason="prometheus is not installed")

ROOT = Path(__file__).resolve().parent.parent
ALERTS = ROOT / "deploy" / "alerts.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text("utf-8"))
TOKEN = "token-of-the-scraper-0123456789"
# what Grafana puts into a query
VARIABLES = {"$__rate_interval": "15s", "$job": "chathub"}


def documented_configuration(language: str = "") -> str:
    """The configuration of Prometheus that the operators' page shows."""
    page = (ROOT / "docs" / f"operating{language}.md").read_text("utf-8")
    (found,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)
    return str(found)


def queries() -> dict[str, str]:
    """The queries of the dashboard by their panels."""
    found = {}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            found[f"{panel['id']} {panel['title']} {target['refId']}"] = expression
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Prometheus:
    """A running Prometheus that scrapes one server once a second."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, path: str, **parameters: str) -> Any:
        async with self._session.get(f"/api/v1/{path}", params=parameters) as response:
            body = await response.json()
        assert body["status"] == "success", f"{parameters}: {body['error']}"
        return body["data"]

    async def values(self, query: str) -> list[float]:
        return [float(each["value"][1]) for each in (await self.ask("query", query=query))["result"]]

    async def scrapes(self) -> float:
        """How many scrapes succeeded so far."""
        return sum(await self.values('sum_over_time(up{job="chathub"}[10m])'))

    async def scraped_again(self, times: int = 2) -> None:
        wanted = await self.scrapes() + times
        while await self.scrapes() < wanted:
            await asyncio.sleep(0.1)


def start(folder: Path, port: int, log: Path) -> subprocess.Popen[bytes]:
    assert PROMETHEUS is not None
    options = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": folder / "tsdb",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    with log.open("wb") as said:
        return subprocess.Popen(
            [PROMETHEUS, *(f"--{name}={value}" for name, value in options.items())],
            stdout=said,
            stderr=said,
            cwd=folder,
        )


@asynccontextmanager
async def watching(hub: ChatHub, folder: Path) -> AsyncIterator[Prometheus]:
    token, port, log = folder / "chathub.token", free_port(), folder / "prometheus.log"
    token.write_text(TOKEN + "\n")
    text = documented_configuration()
    for written, ours in {
        "/etc/prometheus/chathub.token": str(token),
        "/etc/prometheus/chathub-alerts.yml": str(ALERTS),
        "127.0.0.1:5001": f"127.0.0.1:{hub.port}",
        "  - job_name: chathub\n": "  - job_name: chathub\n    scrape_interval: 1s\n    scrape_timeout: 1s\n",
    }.items():
        assert text.count(written) == 1, written
        text = text.replace(written, ours)
    (folder / "prometheus.yml").write_text(text)
    process = start(folder, port, log)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            prometheus = Prometheus(session)
            async with asyncio.timeout(60):
                while True:
                    assert process.poll() is None, log.read_text()
                    try:
                        if await prometheus.scrapes() >= 2:
                            break
                    except (aiohttp.ClientError, AssertionError):
                        # it does not listen yet, or is not ready
                        pass
                    await asyncio.sleep(0.1)
            yield prometheus
    finally:
        process.terminate()
        process.wait(30)


async def use(client: Any, admin: Any, provider: Provider) -> None:
    provider.script = provider.one_after_the_other(
        provider.stream(reply("你好")), provider.answer(500, {"error": {"message": "no"}})
    )
    for _ in range(2):
        await chat(client, admin, message="hi")


@pytest.mark.timeout(180)
async def test_every_query_of_the_dashboard_finds_something_of_a_used_server(
    tmp_path: Path, provider: Provider
) -> None:
    (tmp_path / "backups").mkdir()
    environment = {
        "CHATHUB_METRICS_TOKEN": TOKEN,
        "CHATHUB_BACKUP_DIR": str(tmp_path / "backups"),
        "CHATHUB_BACKUP_EVERY": "0.001",
    }
    async with ChatHub(tmp_path / "chathub.db", **environment) as hub:
        client = await hub.client()
        admin = await sign_in(client, "admin", "admin123")  # type: ignore[arg-type]
        await add_model(client, admin, provider.base_url, needs_key=True)  # type: ignore[arg-type]
        key = {"model_provider": "p_test_model", "api_key": "sk-canary-0123456789"}
        async with client.post("/api/apikeys", json=key, headers=admin) as response:
            assert response.status == 200
        await use(client, admin, provider)
        async with watching(hub, tmp_path) as prometheus:
            # a rate needs an increase of something that was there before
            await use(client, admin, provider)
            while not await prometheus.values("chathub_last_backup_ok"):
                await asyncio.sleep(0.1)
            await prometheus.scraped_again(3)
            found = {panel: await prometheus.values(query) for panel, query in queries().items()}
            rules = await prometheus.ask("rules")
            labels = await prometheus.ask("label/model/values")
        hub_errors = hub.errors
    assert len(found) > 30 and [panel for panel, values in found.items() if not values] == []
    not_numbers = [panel for panel, values in found.items() if all(value != value for value in values)]
    assert not_numbers == []
    assert len(rules["groups"][0]["rules"]) >= 8
    assert all(rule["health"] in ("ok", "unknown") for rule in rules["groups"][0]["rules"])
    assert labels == ["test-model"] and "metrics" not in hub_errors


def test_both_pages_show_the_same_configuration() -> None:
    assert documented_configuration() == documented_configuration(".zh-CN")


def test_rules_of_the_alerts_are_valid() -> None:
    assert PROMTOOL is not None
    checked = subprocess.run(
        [PROMTOOL, "check", "rules", ALERTS], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def series(**changed: str) -> list[dict[str, str]]:
    """Three hours of a server on which all is well, but for what is changed: the values of a metric."""
    well = {
        'up{job="chathub"}': "1x180",
        "chathub_database_writable": "1x180",
        "chathub_disk_free_bytes": "5e9x180",
        "chathub_disk_reserve_bytes": "2.5e8x180",
        "chathub_disk_size_bytes": "1e10x180",
        "chathub_last_backup_ok": "1x180",
        # one an hour, as good as every 50 minutes
        "chathub_last_backup_timestamp_seconds": "0x59 3600x59 7200x62",
        "chathub_backup_interval_seconds": "3000x180",
        'chathub_provider_attempts_total{provider="p"}': "0+10x180",
        'chathub_provider_failures_total{provider="p",class="timeout"}': "0+1x180",
        'chathub_provider_failures_total{provider="p",class="invalid_request"}': "0+9x180",
        'chathub_api_keys{provider="p",state="usable"}': "1x180",
        'chathub_api_keys{provider="p",state="broken"}': "1x180",
        'chathub_loop_lag_seconds_bucket{le="0.25"}': "0+240x180",
        'chathub_loop_lag_seconds_bucket{le="2.5"}': "0+240x180",
        'chathub_loop_lag_seconds_bucket{le="+Inf"}': "0+240x180",
    }
    for start, values in changed.items():
        (name,) = [name for name in well if re.sub(r"\W+", "_", name).startswith(start)]
        well[name] = values
    return [{"series": name, "values": values} for name, values in well.items()]


# what makes each alert fire, and nothing else
CAUSES: dict[str, dict[str, str]] = {
    "ChatHubDown": {"up": "0x180"},
    "ChatHubDatabaseNotWritable": {"chathub_database_writable": "0x180"},
    "ChatHubDiskLow": {"chathub_disk_free_bytes": "4e8x180"},
    "ChatHubBackupFailed": {"chathub_last_backup_ok": "0x180"},
    "ChatHubBackupOld": {"chathub_last_backup_timestamp_seconds": "0x180"},
    "ChatHubProviderFailing": {"chathub_provider_failures_total_provider_p_class_timeout": "0+8x180"},
    "ChatHubNoUsableKey": {"chathub_api_keys_provider_p_state_usable": "0x180"},
    "ChatHubLoopLag": {"chathub_loop_lag_seconds_bucket_le_0_25": "0+200x180"},
}


def test_each_alert_fires_for_its_cause_and_none_while_all_is_well(tmp_path: Path) -> None:
    assert set(CAUSES) == set(re.findall(r"alert: (\w+)", ALERTS.read_text("utf-8")))
    firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
    tests = [
        {
            "interval": "1m",
            "input_series": series(**changed),
            "promql_expr_test": [
                {
                    "expr": firing,
                    "eval_time": "3h",
                    "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1}] if name else [],
                }
            ],
        }
        for name, changed in {"": {}, **CAUSES}.items()
    ]
    file = tmp_path / "alerts.json"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    assert PROMTOOL is not None
    tested = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
