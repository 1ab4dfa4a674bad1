"""What the bodies of ``/v1`` have in common."""

from msgspec import Struct


class Open(Struct, kw_only=True, omit_defaults=True):
    """A body that may have any other field as well."""
