"""The contract with clients: every body that comes in (``requests``) and goes out (``answers``)."""
