"""aiohttp's server as ChatHub runs it: its listener, its connections, its protocol."""
