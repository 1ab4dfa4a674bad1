"""The gateway: stateless requests of programs at ``/v1``, forwarded or translated, and metered.

Their content is not stored.
"""
