"""Codex, which speaks Responses only. The model's name decides which tools it offers, and how."""

import sys
from pathlib import Path

from client import NOTE, Command, Hub, Task
from scripted_formats import Call

# no telemetry, no search for updates, no list of plugins
SETTINGS = """
model = {model}
model_provider = "hub"
check_for_update_on_startup = false
[features]
plugins = false
[analytics]
enabled = false
[feedback]
enabled = false
[otel]
exporter = "none"
metrics_exporter = "none"
[model_providers.hub]
name = "hub"
base_url = "{base_url}/v1"
env_key = "HUB_KEY"
wire_api = "responses"
"""
TOOLS_ON_REQUEST = """
[mcp_servers.home]
command = "{python}"
args = ["{server}"]
"""
PATCH = """*** Begin Patch
*** Update File: note.txt
@@
-hello 世界
+写好了 <&>
*** End Patch
"""


class Codex:
    """With a model that it does not know: its tools are functions."""

    name = "Codex"
    package = "@openai/codex"
    runtime = "node"
    program = "codex"
    settings = SETTINGS
    # the name that it calls the model by, where it is not the hub's
    model = ""

    def task(self, workplace: Path) -> Task:
        edit = "sed -i 's/hello.*/写好了 <\\&>/' note.txt && cat note.txt"
        turns: list[Call] = [
            ("call_1", "exec_command", {"cmd": "wc -c < note.txt"}),
            ("call_2", "exec_command", {"cmd": edit}),
        ]
        return Task(turns, [str(len(NOTE.encode())), "写好了 <&>"], {"note.txt": "写好了 <&>\n"})

    def command(self, program: Path, hub: Hub, home: Path) -> Command:
        settings = self.settings.replace("{model}", f'"{hub.model}"').replace("{base_url}", hub.base_url)
        (home / "config.toml").write_text(settings)
        flags = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
        environment = {"CODEX_HOME": str(home), "HUB_KEY": hub.token}
        return Command([str(program), "exec", *flags, "Edit my note"], environment)


class CodexWithCustomTools(Codex):
    """With a model for which it edits files by a custom tool: its input is free text."""

    name = "Codex (custom tools)"
    model = "gpt-5.5"

    def task(self, workplace: Path) -> Task:
        turns: list[Call] = [
            ("call_1", "exec_command", {"cmd": "wc -c < note.txt"}),
            ("call_2", "apply_patch", {"input": PATCH}),
        ]
        return Task(turns, [str(len(NOTE.encode())), "Success"], {"note.txt": "写好了 <&>\n"})


class CodexWithToolsInInput(Codex):
    """With a newer model: the tools are an item of the input, in namespaces, and one runs programs."""

    name = "Codex (tools in the input)"
    model = "gpt-6.2-sol"

    def task(self, workplace: Path) -> Task:
        count = "const ran = await tools.exec_command({cmd: 'wc -c < note.txt'}); text(ran.output);"
        edit = f"await tools.apply_patch({PATCH!r}); text('edited');"
        turns: list[Call] = [("call_1", "exec", {"input": count}), ("call_2", "exec", {"input": edit})]
        return Task(turns, [str(len(NOTE.encode())), "edited"], {"note.txt": "写好了 <&>\n"})


class CodexWithToolSearch(Codex):
    """With a server of tools, which a newer model gets only when it searches for them."""

    name = "Codex (tool search)"
    model = "gpt-5.5"
    settings = SETTINGS + TOOLS_ON_REQUEST.replace("{python}", sys.executable).replace(
        "{server}", str(Path(__file__).parent / "programs" / "note_tools.py")
    )

    def task(self, workplace: Path) -> Task:
        turns: list[Call] = [
            ("call_1", "tool_search", {"query": "note"}),
            ("call_2", "write_note", {"text": "写好了 <&>\n"}),
        ]
        return Task(turns, ["write_note", "written"], {"note.txt": "写好了 <&>\n"})
