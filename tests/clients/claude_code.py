"""Claude Code."""

from pathlib import Path

from client import NOTE, Command, Hub, Task
from scripted_formats import Call

QUIET = {
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
}


class ClaudeCode:
    name = "Claude Code"
    package = "@anthropic-ai/claude-code"
    runtime = "node"
    program = "claude"
    model = ""

    def task(self, workplace: Path) -> Task:
        """It counts, reads and writes."""
        note, out = str(workplace / "note.txt"), str(workplace / "out.txt")
        turns: list[Call] = [
            ("call_1", "Bash", {"command": "wc -c < note.txt", "description": "Count the bytes"}),
            ("call_2", "Read", {"file_path": note}),
            ("call_3", "Write", {"file_path": out, "content": "写好了 <&>\n"}),
        ]
        results = [str(len(NOTE.encode())), NOTE.strip(), "out.txt"]
        return Task(turns, results, {"out.txt": "写好了 <&>\n"})

    def command(self, program: Path, hub: Hub, home: Path) -> Command:
        return self.asking("Copy my note", program, hub, home, {"ANTHROPIC_AUTH_TOKEN": hub.token})

    def asking(
        self, question: str, program: Path, hub: Hub, home: Path, credentials: dict[str, str]
    ) -> Command:
        """It may use the shell, read and write without a permission."""
        arguments = [str(program), "-p", question, "--allowedTools", "Bash", "Read", "Write"]
        environment = {
            "CLAUDE_CONFIG_DIR": str(home / "claude"),
            "ANTHROPIC_BASE_URL": hub.base_url,
            "ANTHROPIC_MODEL": hub.model,
            "ANTHROPIC_SMALL_FAST_MODEL": hub.model,
        }
        return Command(arguments, QUIET | environment | credentials)
