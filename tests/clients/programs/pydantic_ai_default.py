"""pydantic-ai: its default for OpenAI is Responses."""

import os

from pydantic_ai import Agent

agent = Agent("openai:" + os.environ["MODEL"], instructions="Count.")


@agent.tool_plain
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


print(agent.run_sync("Six times seven, twice").output)
