"""Reasoning: how much a model is asked for, how it is told from text, and how it goes back to its model."""
