"""Accounts: users, passwords, logins, sessions, access tokens, invite codes and registration."""
