"""Limits of memory and connections for each user, and fair queues."""
