"""A tool loop of LangChain."""

from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def run(model: Any) -> str:
    """The last text."""
    bound, messages = model.bind_tools([multiply]), [HumanMessage("Six times seven, twice")]
    for _ in range(5):
        messages.append(bound.invoke(messages))
        calls = messages[-1].tool_calls
        if not calls:
            break
        messages += [ToolMessage(multiply.invoke(call["args"]), tool_call_id=call["id"]) for call in calls]
    return str(messages[-1].text)
