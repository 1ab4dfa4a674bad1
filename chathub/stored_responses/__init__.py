"""Responses of ``/v1/responses`` that are kept: gateway requests whose sink is a log on disk."""
