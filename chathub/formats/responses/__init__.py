"""OpenAI's Responses API, as programs call it and as providers of OpenAI's format may offer it."""
