"""Stored conversations: how a turn begins and is settled, its branches, context, attachments and title."""
