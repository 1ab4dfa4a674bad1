"""Stored conversations: turns, replies, branches, attachments and titles."""
