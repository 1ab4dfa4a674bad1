"""The contract of ``/api``: every body that comes in and goes out, and how bodies are decoded."""
