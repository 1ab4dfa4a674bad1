-- Codes by mail for more than registrations, and invite codes of the command line.

-- The code that was last sent to an address for a purpose at a network's request, so that a stranger can neither replace
-- nor spoil it; of it only a keyed hash is kept.
CREATE TABLE verification_codes_new (
    email_key TEXT NOT NULL,
    -- registration, password, or email with the id of the user whose address it is to become
    purpose TEXT NOT NULL DEFAULT 'registration',
    network TEXT NOT NULL,
    digest TEXT NOT NULL,
    -- wrong tries from that network, and from all others
    wrong_here INTEGER NOT NULL DEFAULT 0,
    wrong_elsewhere INTEGER NOT NULL DEFAULT 0,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (email_key, purpose, network)
) STRICT, WITHOUT ROWID;
INSERT INTO verification_codes_new (email_key, purpose, network, digest, wrong_here, wrong_elsewhere, expires_at)
SELECT email_key, 'registration', network, digest, wrong_here, wrong_elsewhere, expires_at FROM verification_codes;
DROP TABLE verification_codes;
ALTER TABLE verification_codes_new RENAME TO verification_codes;
CREATE INDEX verification_codes_by_end ON verification_codes (expires_at);

-- Invitations to register; of the code only a hash is kept.
CREATE TABLE invites_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL CONSTRAINT invites_digest UNIQUE,
    hint TEXT NOT NULL,
    note TEXT NOT NULL,
    -- of the accounts that are made with it
    subscription_type TEXT NOT NULL REFERENCES subscriptions (name),
    max_uses INTEGER NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND max_uses),
    -- NULL: the operator, at the command line
    created_by INTEGER REFERENCES users (id),
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
INSERT INTO invites_new (id, digest, hint, note, subscription_type, max_uses, uses, created_by, expires_at, created_at)
SELECT id, digest, hint, note, subscription_type, max_uses, uses, created_by, expires_at, created_at FROM invites;
-- the ids go on where they were
DELETE FROM sqlite_sequence WHERE name = 'invites_new';
UPDATE sqlite_sequence SET name = 'invites_new' WHERE name = 'invites';
DROP TABLE invites;
ALTER TABLE invites_new RENAME TO invites;
CREATE TRIGGER invite_needs_a_user BEFORE INSERT ON invites
WHEN EXISTS (SELECT 1 FROM users WHERE id = new.created_by AND left_at IS NOT NULL)
BEGIN
    SELECT raise(ABORT, 'the user has left');
END;
