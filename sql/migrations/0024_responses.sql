-- Responses of /v1/responses that their clients asked to keep: each with its input, and the log of its events.

CREATE TABLE responses (
    id INTEGER PRIMARY KEY,
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
    -- zlib: the list of the input's own items, without those of the responses before
    input BLOB NOT NULL,
    bytes INTEGER GENERATED ALWAYS AS (length(input)) VIRTUAL
) STRICT;
CREATE INDEX responses_by_previous ON responses (previous_id);
CREATE INDEX responses_by_time ON responses (created_at);
CREATE INDEX responses_in_progress ON responses (id) WHERE status = 'in_progress';

-- The events as their clients get them. While a response runs, a row is what came at once; at its end they are folded
-- into blocks. The last event of an ended response has the whole object.
CREATE TABLE response_events (
    id INTEGER PRIMARY KEY,
    response_id INTEGER NOT NULL REFERENCES responses (id) ON DELETE CASCADE,
    -- the sequence numbers of the first event and of the last
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    -- zlib
    data BLOB NOT NULL,
    bytes INTEGER GENERATED ALWAYS AS (length(data)) VIRTUAL,
    UNIQUE (response_id, last)
) STRICT;

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
CREATE TRIGGER events_take_storage AFTER INSERT ON response_events
BEGIN
    UPDATE users SET storage_used = storage_used + new.bytes
    WHERE id = (SELECT user_id FROM responses WHERE responses.id = new.response_id);
END;
-- when the response itself is deleted, it is not found any more
CREATE TRIGGER events_free_storage AFTER DELETE ON response_events
BEGIN
    UPDATE users SET storage_used = storage_used - old.bytes
    WHERE id = (SELECT user_id FROM responses WHERE responses.id = old.response_id);
END;
