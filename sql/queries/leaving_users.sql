-- name: insert
INSERT INTO leaving_users (user_id, names) VALUES (:user_id, :names)

-- name: set_idle
-- no request of the user runs any more
UPDATE leaving_users SET is_idle = 1 WHERE user_id = :user_id

-- name: set_all_idle
-- at start, when no request runs
UPDATE leaving_users SET is_idle = 1 WHERE is_idle = 0

-- name: find_idle
SELECT user_id, audit_id, ledger_id FROM leaving_users WHERE is_idle = 1 ORDER BY user_id LIMIT 1

-- name: delete
DELETE FROM leaving_users WHERE user_id = :user_id

-- name: list_audited_names
-- the entries of the audit with a user's former names
SELECT details FROM audit WHERE event = 'user.updated' AND target = 'user ' || :user_id

-- name: hide_conversations
-- some of them; none is shown from now on
UPDATE conversations SET deleted_at = :now, head_id = NULL, public_id = '/' || id, title = ''
WHERE id IN (SELECT id FROM conversations WHERE user_id = :user_id AND deleted_at IS NULL LIMIT :most)

-- name: delete_files
DELETE FROM files WHERE id IN (SELECT id FROM files WHERE user_id = :user_id LIMIT :most)

-- name: delete_responses
-- the newest ones, which nothing continues but what goes with them
DELETE FROM responses WHERE id IN (SELECT id FROM responses WHERE user_id = :user_id ORDER BY id DESC LIMIT :most)

-- name: delete_deletions
DELETE FROM deleted_conversations WHERE (user_id, public_id) IN (
    SELECT user_id, public_id FROM deleted_conversations WHERE user_id = :user_id LIMIT :most)

-- name: delete_idempotency_keys
DELETE FROM idempotency_keys WHERE (user_id, name) IN (
    SELECT user_id, name FROM idempotency_keys WHERE user_id = :user_id LIMIT :most)

-- name: list_api_keys
SELECT id FROM api_keys WHERE user_id = :user_id

-- name: delete_api_keys
DELETE FROM api_keys WHERE user_id = :user_id

-- name: delete_tokens
DELETE FROM personal_tokens WHERE user_id = :user_id

-- name: delete_invites
DELETE FROM invites WHERE created_by = :user_id

-- name: delete_networks
DELETE FROM login_networks WHERE user_id = :user_id

-- name: delete_request_counts
DELETE FROM request_counts WHERE user_id = :user_id

-- name: clear_audit
UPDATE audit SET (actor, details) = (
    SELECT nameless.actor, nameless.details FROM audit_without_names AS nameless
    WHERE nameless.id = audit.id AND nameless.user_id = :user_id)
WHERE id > :after AND id <= :last AND EXISTS (
    SELECT 1 FROM audit_without_names AS nameless
    WHERE nameless.id = audit.id AND nameless.user_id = :user_id
        AND (nameless.actor <> audit.actor OR nameless.details <> audit.details))

-- name: find_ledger_end
-- the end of the next piece of the user's entries in the ledger (NULL: there is none)
SELECT max(id) AS id FROM (SELECT id FROM ledger WHERE user_id = :user_id AND id > :after ORDER BY id LIMIT :most)

-- name: clear_ledger
UPDATE ledger SET conversation_id = NULL
WHERE user_id = :user_id AND id > :after AND id <= :last AND conversation_id IS NOT NULL

-- name: set_progress
UPDATE leaving_users SET audit_id = :audit_id, ledger_id = :ledger_id WHERE user_id = :user_id
