"""LiteLLM's Responses, in one piece."""

import json
import os

import litellm
from tools import CHAT_TOOL, multiply

items = [{"role": "user", "content": "Six times seven, twice"}]
for _ in range(5):
    response = litellm.responses(
        model="openai/" + os.environ["MODEL"],
        api_base=os.environ["OPENAI_BASE_URL"],
        input=items,
        tools=[{"type": "function", **CHAT_TOOL["function"]}],
        include=["reasoning.encrypted_content"],
        num_retries=0,
    )
    items += [item.model_dump(exclude_none=True) for item in response.output]
    calls = [item for item in response.output if item.type == "function_call"]
    if not calls:
        break
    for call in calls:
        told = str(multiply(**json.loads(call.arguments)))
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": told})
print(next(item for item in response.output if item.type == "message").content[0].text)
