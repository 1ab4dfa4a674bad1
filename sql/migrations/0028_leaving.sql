-- Users who leave, and rows of the ledger and the audit that are kept for a time only.

-- milliseconds; NULL: the account exists. The row of a user who has left stays for the ledger's sums, without its name
ALTER TABLE users ADD COLUMN left_at INTEGER;

-- Users who have left and whose data is being removed.
CREATE TABLE leaving_users (
    user_id INTEGER PRIMARY KEY REFERENCES users (id),
    -- 0 while requests of the user may still run
    is_idle INTEGER NOT NULL DEFAULT 0 CHECK (is_idle IN (0, 1)),
    -- JSON list: the names that the user had, in comparable form
    names TEXT NOT NULL,
    -- rows up to these ids have no name of the user any more
    audit_id INTEGER NOT NULL DEFAULT 0,
    ledger_id INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX responses_by_user ON responses (user_id);

-- Nothing new is stored for a user who has left.
CREATE TRIGGER conversation_needs_a_user BEFORE INSERT ON conversations
WHEN EXISTS (SELECT 1 FROM users WHERE id = new.user_id AND left_at IS NOT NULL)
BEGIN
    SELECT raise(ABORT, 'the user has left');
END;
CREATE TRIGGER file_needs_a_user BEFORE INSERT ON files
WHEN EXISTS (SELECT 1 FROM users WHERE id = new.user_id AND left_at IS NOT NULL)
BEGIN
    SELECT raise(ABORT, 'the user has left');
END;
CREATE TRIGGER response_needs_a_user BEFORE INSERT ON responses
WHEN EXISTS (SELECT 1 FROM users WHERE id = new.user_id AND left_at IS NOT NULL)
BEGIN
    SELECT raise(ABORT, 'the user has left');
END;
CREATE TRIGGER api_key_needs_a_user BEFORE INSERT ON api_keys
WHEN EXISTS (SELECT 1 FROM users WHERE id = new.user_id AND left_at IS NOT NULL)
BEGIN
    SELECT raise(ABORT, 'the user has left');
END;
CREATE TRIGGER token_needs_a_user BEFORE INSERT ON personal_tokens
WHEN EXISTS (SELECT 1 FROM users WHERE id = new.user_id AND left_at IS NOT NULL)
BEGIN
    SELECT raise(ABORT, 'the user has left');
END;
CREATE TRIGGER session_needs_a_user BEFORE INSERT ON sessions
WHEN EXISTS (SELECT 1 FROM users WHERE id = new.user_id AND left_at IS NOT NULL)
BEGIN
    SELECT raise(ABORT, 'the user has left');
END;
CREATE TRIGGER invite_needs_a_user BEFORE INSERT ON invites
WHEN EXISTS (SELECT 1 FROM users WHERE id = new.created_by AND left_at IS NOT NULL)
BEGIN
    SELECT raise(ABORT, 'the user has left');
END;

-- The audit's entries about users who are leaving, as they are to become: without names and texts of these users.
CREATE VIEW audit_without_names AS
SELECT audit.id, leaver.user_id,
    iif(actor_id IS leaver.user_id, 'deleted-' || leaver.user_id, actor) AS actor,
    iif(actor_id IS NOT leaver.user_id OR target = 'user ' || leaver.user_id OR target NOT LIKE 'user %',
        json_replace(details,
            '$.account', 'deleted-' || leaver.user_id, '$.username', 'deleted-' || leaver.user_id,
            '$.email', 'deleted-' || leaver.user_id, '$.label', 'deleted-' || leaver.user_id,
            '$.mask', 'deleted-' || leaver.user_id, '$.name', 'deleted-' || leaver.user_id,
            '$.hint', 'deleted-' || leaver.user_id, '$.client', 'deleted-' || leaver.user_id,
            '$.conversation', 'deleted-' || leaver.user_id),
        details) AS details
FROM leaving_users AS leaver CROSS JOIN audit
WHERE actor_id IS leaver.user_id OR target = 'user ' || leaver.user_id
    OR json_extract(details, '$.owner_id') IS leaver.user_id
    OR (event = 'login.failed'
        AND json_extract(details, '$.account') IN (SELECT value FROM json_each(leaver.names)));

-- Rows up to this id are in a file, and may be deleted here.
CREATE TABLE exported_rows (
    name TEXT PRIMARY KEY CHECK (name IN ('audit', 'ledger')),
    last_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The audit and the ledger are only ever added to, but for what the tables above say.
DROP TRIGGER audit_is_not_changed;
CREATE TRIGGER audit_is_not_changed
BEFORE UPDATE OF id, at, event, actor_id, target, address, request_id ON audit
BEGIN
    SELECT raise(ABORT, 'the audit is only ever added to');
END;
CREATE TRIGGER audit_only_loses_names BEFORE UPDATE OF actor, details ON audit
WHEN NOT EXISTS (
    SELECT 1 FROM audit_without_names AS nameless
    WHERE nameless.id = old.id AND nameless.actor = new.actor AND nameless.details = new.details)
BEGIN
    SELECT raise(ABORT, 'the audit is only ever added to');
END;
DROP TRIGGER audit_is_not_deleted;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
WHEN NOT EXISTS (SELECT 1 FROM exported_rows WHERE name = 'audit' AND last_id >= old.id)
BEGIN
    SELECT raise(ABORT, 'the audit is only ever added to');
END;

DROP TRIGGER ledger_is_not_changed;
CREATE TRIGGER ledger_is_not_changed
BEFORE UPDATE OF id, at, day, kind, user_id, token_id, key_id, provider, model, message_id, prompt_tokens,
    completion_tokens, reasoning_tokens, cached_tokens, usage_source, input_price, output_price, cost, first_token_ms,
    duration_ms, end_reason, http_status, cached_price, cache_write_price, cache_write_1h_price, cache_write_tokens,
    cache_write_1h_tokens, counted_tokens, savings, requested_model, unit, units, unit_price ON ledger
BEGIN
    SELECT raise(ABORT, 'the ledger is only ever added to');
END;
-- the id of a conversation is its client's choice, and may say something
CREATE TRIGGER ledger_only_loses_names BEFORE UPDATE OF conversation_id ON ledger
WHEN new.conversation_id IS NOT NULL OR NOT EXISTS (SELECT 1 FROM leaving_users WHERE user_id = old.user_id)
BEGIN
    SELECT raise(ABORT, 'the ledger is only ever added to');
END;
DROP TRIGGER ledger_is_not_deleted;
CREATE TRIGGER ledger_is_not_deleted BEFORE DELETE ON ledger
WHEN NOT EXISTS (SELECT 1 FROM exported_rows WHERE name = 'ledger' AND last_id >= old.id)
BEGIN
    SELECT raise(ABORT, 'the ledger is only ever added to');
END;
