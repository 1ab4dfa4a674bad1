-- name: insert
-- inserts nothing if the message was deleted meanwhile
INSERT INTO message_parts (message_id, sequence, kind, text)
SELECT :message_id, :sequence, :kind, :text WHERE EXISTS (SELECT 1 FROM messages WHERE id = :message_id)

-- name: list_for_message
SELECT kind, text FROM message_parts WHERE message_id = :message_id ORDER BY sequence

-- name: delete
DELETE FROM message_parts WHERE message_id = :message_id
