"""The OpenAI Agents SDK: its default is Responses."""

import os

from agents import Agent, Runner, function_tool, set_tracing_disabled


@function_tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


set_tracing_disabled(True)
agent = Agent(name="counter", instructions="Count.", model=os.environ["MODEL"], tools=[multiply])
print(Runner.run_sync(agent, "Six times seven, twice").final_output)
