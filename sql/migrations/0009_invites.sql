-- A registration may need an invitation, or a code sent by mail. Times are Unix milliseconds.

-- Invitations to register; of the code only a hash is kept.
CREATE TABLE invites (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL CONSTRAINT invites_digest UNIQUE,
    hint TEXT NOT NULL,
    note TEXT NOT NULL,
    -- of the accounts that are made with it
    subscription_type TEXT NOT NULL CHECK (subscription_type IN ('free', 'pro', 'premium', 'enterprise')),
    max_uses INTEGER NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND max_uses),
    created_by INTEGER NOT NULL REFERENCES users (id),
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- The code that was last sent to an address; of it only a keyed hash is kept.
CREATE TABLE verification_codes (
    email_key TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    wrong_tries INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX verification_codes_by_end ON verification_codes (expires_at);
