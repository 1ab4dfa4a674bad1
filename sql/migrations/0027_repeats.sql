-- foreign_keys: off
-- Stored responses: a row id is used once, a request with an idempotency key is kept once, and items are found by
-- their ids.

CREATE TABLE new_responses (
    -- AUTOINCREMENT: who still reads the log of a deleted response never gets that of a later one
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    public_id TEXT NOT NULL UNIQUE,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- the response that this one continues; it stays as long as this one
    previous_id INTEGER REFERENCES responses (id),
    -- how many responses come before it
    depth INTEGER NOT NULL,
    model TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('in_progress', 'completed', 'incomplete', 'failed', 'cancelled')),
    is_background INTEGER NOT NULL CHECK (is_background IN (0, 1)),
    -- deleted by its user, and kept for those that continue it
    is_deleted INTEGER NOT NULL DEFAULT 0 CHECK (is_deleted IN (0, 1)),
    -- milliseconds
    created_at INTEGER NOT NULL,
    -- of a request that may be repeated, with the SHA-256 of its body; NULL: of another
    idempotency_key TEXT,
    digest TEXT,
    -- zlib: the list of the input's own items, without those of the responses before
    input BLOB NOT NULL,
    bytes INTEGER GENERATED ALWAYS AS (length(input)) VIRTUAL
) STRICT;
INSERT INTO new_responses
    (id, public_id, user_id, previous_id, depth, model, status, is_background, is_deleted, created_at, input)
SELECT id, public_id, user_id, previous_id, depth, model, status, is_background, is_deleted, created_at, input
FROM responses;
DROP TABLE responses;
ALTER TABLE new_responses RENAME TO responses;

CREATE INDEX responses_by_previous ON responses (previous_id);
CREATE INDEX responses_by_time ON responses (created_at);
CREATE INDEX responses_in_progress ON responses (id) WHERE status = 'in_progress';
CREATE UNIQUE INDEX responses_by_key ON responses (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TRIGGER response_takes_storage AFTER INSERT ON responses
BEGIN
    UPDATE users SET storage_used = storage_used + new.bytes WHERE id = new.user_id;
END;
-- before, and not after: its events go first, and their trigger could not find the user any more
CREATE TRIGGER response_frees_storage BEFORE DELETE ON responses
BEGIN
    UPDATE users SET storage_used = storage_used - old.bytes
        - (SELECT coalesce(sum(bytes), 0) FROM response_events WHERE response_id = old.id)
    WHERE id = old.user_id;
END;

-- Where the items of a user's responses are: those of an input, and those of an ended output.
CREATE TABLE response_items (
    user_id INTEGER NOT NULL,
    -- the first 8 bytes of the SHA-256 of the item's id
    digest INTEGER NOT NULL,
    response_id INTEGER NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
    is_output INTEGER NOT NULL CHECK (is_output IN (0, 1)),
    PRIMARY KEY (user_id, digest, response_id, is_output)
) STRICT, WITHOUT ROWID;
CREATE INDEX response_items_by_response ON response_items (response_id);

-- each counts as the bytes that it takes about, with its index
CREATE TRIGGER item_takes_storage AFTER INSERT ON response_items
BEGIN
    UPDATE users SET storage_used = storage_used + 40 WHERE id = new.user_id;
END;
CREATE TRIGGER item_frees_storage AFTER DELETE ON response_items
BEGIN
    UPDATE users SET storage_used = storage_used - 40 WHERE id = old.user_id;
END;
