"""The rows of the named statements: a file for each of ``sql/queries/``, a struct for each kind of row.

The struct's fields are the statement's columns, in their order. Each file ends with the list of its
statements, which gives every one its type: ``q.settings.get`` gives ``Setting``.
"""
