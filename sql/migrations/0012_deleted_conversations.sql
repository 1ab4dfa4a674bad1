-- The ids of conversations that their owners deleted, so that no message that was on its way brings one back.
-- They are remembered for some months; what is removed with its owner's account is nothing to remember.
CREATE TABLE deleted_conversations (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- the id that the API showed
    public_id TEXT NOT NULL,
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, public_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX deleted_conversations_by_user ON deleted_conversations (user_id, deleted_at);
CREATE INDEX deleted_conversations_by_age ON deleted_conversations (deleted_at);
