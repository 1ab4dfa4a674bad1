"""Libraries: each has a program in ``programs`` that uses a tool twice and prints the last text."""

from dataclasses import dataclass
from pathlib import Path

from client import Command, Hub, Task
from installing import FOLDER
from scripted_formats import Call

PROGRAMS = Path(__file__).parent / "programs"


@dataclass(frozen=True)
class Library:
    """What a user of a library writes, with the library's defaults; ``script`` is the file."""

    name: str
    package: str
    script: str
    runtime: str = "requirements"
    program: str = "python"
    model: str = ""

    def task(self, workplace: Path) -> Task:
        turns: list[Call] = [
            ("call_1", "multiply", {"a": 6, "b": 7}),
            ("call_2", "multiply", {"a": 42, "b": 2}),
        ]
        return Task(turns, ["42", "84"], {})

    def command(self, program: Path, hub: Hub, home: Path) -> Command:
        environment = {
            "OPENAI_BASE_URL": hub.base_url + "/v1",
            "OPENAI_API_KEY": hub.token,
            "MODEL": hub.model,
            "MODULES": str(FOLDER / "node" / "node_modules"),
            "OPENAI_AGENTS_DISABLE_TRACING": "1",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LANGCHAIN_TRACING_V2": "false",
            "PYTHONWARNINGS": "ignore",
        }
        # node itself is not a package
        runs = program.name if self.runtime == "node" else str(program)
        return Command([runs, str(PROGRAMS / self.script)], environment)


LIBRARIES = [
    Library("OpenAI Agents SDK", "openai-agents", "openai_agents.py"),
    Library("AI SDK", "ai", "ai_sdk.cjs", runtime="node", program="node"),
    Library("pydantic-ai", "pydantic-ai-slim", "pydantic_ai_default.py"),
    Library("LangChain", "langchain-openai", "langchain_chat.py"),
    Library("LangChain (reasoning=)", "langchain-openai", "langchain_reasoning.py"),
    Library("LiteLLM", "litellm", "litellm_completion.py"),
    Library("LiteLLM (Responses)", "litellm", "litellm_responses.py"),
]
