"""aiohttp's server as ChatHub runs it: listener, open connections, protocol."""
