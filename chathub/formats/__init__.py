"""The wire formats of providers and clients, a folder for each vendor: pure functions, no I/O.

The provider's side of a format is a request out (``encode_request``) and events in (``Decoder``,
``decode_body``). The client's side is a request in (``decode_request``) and events out (``Encoder``,
``encode_body``). The types between the two are in ``messages`` and ``events``: any client can be answered
by any provider. ``registry`` lists the formats.
"""
