"""What chats and gateway requests share while a reply is being generated."""
