-- A code belongs to the network that asked for it, so that a stranger can neither replace nor spoil it.

-- A newcomer whose code goes with the old table asks for another one. Times are Unix milliseconds.
DROP TABLE verification_codes;

-- The code that was last sent to an address at a network's request; of it only a keyed hash is kept.
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
