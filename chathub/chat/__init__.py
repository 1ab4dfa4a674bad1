"""What ChatHub is for: turns, replies, their context and their cost."""
