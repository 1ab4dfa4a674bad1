-- Whoever guesses waits, also over a restart.

-- How often something was tried of late. Times here are Unix milliseconds.
CREATE TABLE throttles (
    -- which limit counts, and whom: ("login account", a name), ("registration", an address) …
    scope TEXT NOT NULL,
    subject TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    blocked_until INTEGER NOT NULL,
    -- from then on it is as if nothing had been tried
    forget_at INTEGER NOT NULL,
    PRIMARY KEY (scope, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX throttles_by_end ON throttles (forget_at);

-- Networks (an IPv4 /24, an IPv6 /56) from which an account has signed in.
CREATE TABLE login_networks (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    network TEXT NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, network)
) STRICT, WITHOUT ROWID;
