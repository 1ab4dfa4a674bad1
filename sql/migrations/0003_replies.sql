-- Replies that survive: text in the making, repeated requests, questions that can be asked again.

-- What a reply had brought since it began, once a second; folded into the message when it ends.
CREATE TABLE message_parts (
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('content', 'reasoning')),
    text TEXT NOT NULL,
    PRIMARY KEY (message_id, sequence)
) STRICT, WITHOUT ROWID;

-- A request that may be repeated, and the reply it got.
CREATE TABLE idempotency_keys (
    user_id INTEGER NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    -- of the canonical body: the same key with another body is a mistake
    digest TEXT NOT NULL,
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE INDEX idempotency_keys_by_message ON idempotency_keys (message_id);

-- the HTTP status that tells of a failed reply
ALTER TABLE messages ADD COLUMN error_status INTEGER NOT NULL DEFAULT 0;

-- system prompt and parameters of a question as JSON, for another answer to it
ALTER TABLE messages ADD COLUMN options TEXT NOT NULL DEFAULT '';
CREATE INDEX messages_by_place ON messages (conversation_id, parent_id, id);

-- 1: the user chose the title; it is never made anew
ALTER TABLE conversations ADD COLUMN title_is_own INTEGER NOT NULL DEFAULT 0 CHECK (title_is_own IN (0, 1));
