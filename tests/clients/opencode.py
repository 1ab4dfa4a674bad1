"""opencode, with a provider of its own for chat completions."""

import json
from pathlib import Path

from client import NOTE, Command, Hub, Task
from scripted_formats import Call

QUIET = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    # it installs the types of plugins otherwise
    "npm_config_offline": "true",
}


class Opencode:
    name = "opencode"
    package = "opencode-ai"
    runtime = "node"
    program = "opencode"
    model = ""
    # the AI SDK's package that it talks with
    npm = "@ai-sdk/openai-compatible"

    def task(self, workplace: Path) -> Task:
        """It counts and edits by its shell: which tool edits depends on the model's name."""
        edit = "sed -i 's/hello.*/写好了 <\\&>/' note.txt && cat note.txt"
        turns: list[Call] = [
            ("call_1", "bash", {"command": "wc -c < note.txt", "description": "Count the bytes"}),
            ("call_2", "bash", {"command": edit, "description": "Edit"}),
        ]
        return Task(turns, [str(len(NOTE.encode())), "写好了 <&>"], {"note.txt": "写好了 <&>\n"})

    def command(self, program: Path, hub: Hub, home: Path) -> Command:
        options = {"baseURL": hub.base_url + "/v1", "apiKey": hub.token}
        provider = {"npm": self.npm, "name": "hub", "options": options, "models": {hub.model: {}}}
        settings = {
            "provider": {"hub": provider},
            "enabled_providers": ["hub"],
            "model": f"hub/{hub.model}",
            "small_model": f"hub/{hub.model}",
            "permission": {"bash": "allow", "edit": "allow"},
            "autoupdate": False,
            "share": "disabled",
        }
        environment = {"OPENCODE_CONFIG_CONTENT": json.dumps(settings)}
        return Command([str(program), "run", "Copy my note"], QUIET | environment)


class OpencodeWithResponses(Opencode):
    name = "opencode (Responses)"
    npm = "@ai-sdk/openai"
