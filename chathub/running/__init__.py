"""Running work: the registry of replies and gateway requests, their admission, and reports about API keys."""
