"""LiteLLM's completion, streamed."""

import json
import os

import litellm
from tools import CHAT_TOOL, multiply

messages = [{"role": "user", "content": "Six times seven, twice"}]
for _ in range(5):
    chunks = litellm.completion(
        model="openai/" + os.environ["MODEL"],
        api_base=os.environ["OPENAI_BASE_URL"],
        messages=messages,
        tools=[CHAT_TOOL],
        stream=True,
        num_retries=0,
    )
    message = litellm.stream_chunk_builder(list(chunks), messages=messages).choices[0].message
    messages.append(message.model_dump(exclude_none=True))
    if not message.tool_calls:
        break
    for call in message.tool_calls:
        told = str(multiply(**json.loads(call.function.arguments)))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": told})
print(message.content)
