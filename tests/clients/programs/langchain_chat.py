"""LangChain with chat completions."""

import os

from langchain_loop import run
from langchain_openai import ChatOpenAI

print(run(ChatOpenAI(model=os.environ["MODEL"], use_responses_api=False)))
