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

-- The code that was last sent to an address at a network's request, so that a stranger can neither replace nor
-- spoil it; of it only a keyed hash is kept.
CREATE TABLE verification_codes (
    email_key TEXT NOT NULL,
    network TEXT NOT NULL,
    digest TEXT NOT NULL,
    -- wrong tries from that network, and from all others
    wrong_here INTEGER NOT NULL DEFAULT 0,
    wrong_elsewhere INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (email_key, network)
) STRICT, WITHOUT ROWID;
CREATE INDEX verification_codes_by_end ON verification_codes (expires_at);
