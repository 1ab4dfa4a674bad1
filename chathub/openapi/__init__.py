"""The API described in OpenAPI 3.1: made from the routes, the schemas and a table of operations.

Only the generator and its tests import this package. The server sends the finished files of ``docs/``.
"""
