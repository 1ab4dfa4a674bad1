-- name: find_reply
-- failed_empty: the turn failed, or was stopped because its client left, before any output, so that it may be repeated;
-- a turn that its user stopped may not. is_deleted: its conversation was deleted
SELECT message_id, digest, deleted_at IS NOT NULL AS is_deleted, content = '' AND reasoning = '' AND tool_calls = ''
    AND NOT EXISTS (SELECT 1 FROM message_attachments WHERE message_attachments.message_id = messages.id)
    AND (status IN ('error', 'interrupted') OR finish_reason = 'disconnected') AS failed_empty
FROM idempotency_keys JOIN messages ON messages.id = message_id
    JOIN conversations ON conversations.id = conversation_id
WHERE idempotency_keys.user_id = :user_id AND name = :name AND idempotency_keys.created_at >= :since

-- name: insert
INSERT INTO idempotency_keys (user_id, name, digest, message_id, created_at)
VALUES (:user_id, :name, :digest, :message_id, :now)

-- name: delete
DELETE FROM idempotency_keys WHERE user_id = :user_id AND name = :name

-- name: delete_older
DELETE FROM idempotency_keys WHERE created_at < :before
