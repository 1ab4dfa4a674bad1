"""Secrets at rest and what is recorded about their use: vault, master secret, passphrases, audit."""
