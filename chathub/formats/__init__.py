"""The wire formats of providers and clients, a folder for each vendor: no I/O.

The provider's side of a format encodes requests (``encode_request``) and decodes responses into events
(``Decoder``, ``decode_body``). The client's side decodes requests (``decode_request``) and encodes events
(``Encoder``, ``encode_body``). The types between the two are in ``messages`` and ``events``: any provider can
reply to any client. ``registry`` lists the provider formats.
"""
