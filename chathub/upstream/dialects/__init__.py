"""The providers' dialects as pure functions: a request out, events in; no I/O."""
