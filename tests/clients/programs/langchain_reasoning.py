"""LangChain with ``reasoning=``, which makes it use Responses; it streams."""

import os

from langchain_loop import run
from langchain_openai import ChatOpenAI

how = {"effort": "low", "summary": "auto"}
model = os.environ["MODEL"]
print(run(ChatOpenAI(model=model, reasoning=how, include=["reasoning.encrypted_content"], streaming=True)))
