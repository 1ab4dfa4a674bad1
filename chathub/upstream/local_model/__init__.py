"""The built-in model: its weights, its process, and the lease that a request takes on it."""
