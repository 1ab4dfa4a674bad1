"""What people read: every sentence by its code, in Chinese and in English, and nowhere else.

A table for each area has the codes of its errors and other sentences. The code of an error is on the wire and
never changes; its sentences may.
"""

from chathub.sentences.reason import Language, Param, Reason, sentence

__all__ = ["Language", "Param", "Reason", "sentence"]
