-- Logins. A login's token is good as long as its row is here, so nothing has to remember the ended ones.
CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- of its present token: a refresh writes a new one
    jti TEXT NOT NULL CONSTRAINT sessions_jti UNIQUE,
    user_id INTEGER NOT NULL REFERENCES users (id),
    -- the login that it goes back to
    started_at INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- exact to about a minute
    last_seen_at INTEGER NOT NULL,
    address TEXT NOT NULL,
    -- what the client calls itself
    client TEXT NOT NULL
) STRICT;
CREATE INDEX sessions_by_user ON sessions (user_id, last_seen_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

DROP TABLE revoked_tokens;
