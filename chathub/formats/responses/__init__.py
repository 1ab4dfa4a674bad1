"""OpenAI's Responses: a format of clients, and of those providers of OpenAI's format that have it."""
