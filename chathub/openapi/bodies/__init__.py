"""Bodies of ``/v1``: the fields that ChatHub itself reads and promises. All others are passed on."""
