"""The dialects that clients speak: their request bodies read, ChatHub's events written. No I/O.

``openai`` and ``anthropic`` have the same parts: ``read`` (a body into a ``ClientRequest``), ``Stream`` and
``whole`` (events into what the client expects), ``error`` (a refusal in its shape). Whatever dialect the
provider speaks lies on the other side of ``chathub.upstream.types``.
"""
