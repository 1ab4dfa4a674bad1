"""aider: its edits are text, and a test command's output goes back to the model."""

from pathlib import Path

from client import Command, Hub, Task

EDIT = """note.txt
```
<<<<<<< SEARCH
hello 世界
=======
写好了 <&>
>>>>>>> REPLACE
```"""


class Aider:
    name = "aider"
    package = "aider-chat"
    runtime = "requirements-aider"
    program = "aider"
    model = ""

    def task(self, workplace: Path) -> Task:
        return Task([EDIT], [], {"note.txt": "写好了 <&>\n", "tested.txt": "写好了 <&>\n"})

    def command(self, program: Path, hub: Hub, home: Path) -> Command:
        # what it would download otherwise
        cache = home / ".aider" / "caches" / "model_prices_and_context_window.json"
        cache.parent.mkdir(parents=True)
        cache.write_text('{"none": {}}')
        # fails once: what it prints is the next question
        test = "test -e tested.txt || { cp note.txt tested.txt; echo 'not yet'; exit 1; }"
        flags = [
            *("--no-git", "--no-check-update", "--no-analytics", "--no-show-release-notes", "--yes-always"),
            *("--no-show-model-warnings", "--no-auto-lint", "--no-pretty", "--edit-format", "diff"),
            *("--map-tokens", "0", "--auto-test", "--test-cmd", test),
        ]
        asked = ["--model", f"openai/{hub.model}", "--message", "Edit my note", "note.txt"]
        environment = {
            "OPENAI_API_BASE": hub.base_url + "/v1",
            "OPENAI_API_KEY": hub.token,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }
        return Command([str(program), *flags, *asked], environment)
