"""How long a recording is, by what its file says: billed where the provider does not tell the length."""
