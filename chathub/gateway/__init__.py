"""Stateless requests of programs (``/v1``): what they reserve, where they go, what they used.

Nothing of their content is stored.
"""
