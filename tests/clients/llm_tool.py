"""llm, the command: https://llm.datasette.io"""

import json
from pathlib import Path

from client import Command, Hub, Task
from scripted_formats import Call

FUNCTIONS = """
def multiply(a: int, b: int) -> int:
    "Multiply two numbers"
    return a * b
"""


class Llm:
    name = "llm"
    package = "llm"
    runtime = "requirements"
    program = "llm"
    model = ""
    has_responses = False

    def task(self, workplace: Path) -> Task:
        turns: list[Call] = [
            ("call_1", "multiply", {"a": 6, "b": 7}),
            ("call_2", "multiply", {"a": 42, "b": 2}),
        ]
        return Task(turns, ["42", "84"], {})

    def command(self, program: Path, hub: Hub, home: Path) -> Command:
        model = {
            "model_id": "hub",
            "model_name": hub.model,
            "api_base": hub.base_url + "/v1",
            "api_key_name": "hub",
            "supports_tools": True,
            "responses": self.has_responses,
        }
        # which is YAML too
        (home / "extra-openai-models.yaml").write_text(json.dumps([model]))
        (home / "keys.json").write_text(json.dumps({"hub": hub.token}))
        arguments = [str(program), "-m", "hub", "--functions", FUNCTIONS, "Six times seven, twice"]
        return Command(arguments, {"LLM_USER_PATH": str(home)})


class LlmWithResponses(Llm):
    name = "llm (Responses)"
    has_responses = True
