"""Who may use ChatHub: users, passwords, sessions, access tokens, invites and registration."""
