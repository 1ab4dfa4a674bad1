"""What is being generated, for chats and for programs: the registry, and reports about API keys."""
