-- name: find_by_digest
SELECT id FROM files WHERE user_id = :user_id AND digest = :digest

-- name: insert
INSERT INTO files (id, user_id, digest, media_type, data, created_at)
VALUES (:file_id, :user_id, :digest, :media_type, :data, :now)

-- name: insert_image
INSERT INTO message_images (message_id, position, file_id, url, at)
VALUES (:message_id, :position, :file_id, :url, :at)

-- name: list_for_message
SELECT media_type, data, url, at FROM message_images LEFT JOIN files ON files.id = file_id
WHERE message_id = :message_id ORDER BY position

-- name: get_size_for_message
SELECT coalesce(sum(length(data)), 0) AS size FROM message_images JOIN files ON files.id = file_id
WHERE message_id = :message_id

-- name: list_ids_for_message
-- the stored images of a message
SELECT file_id AS id FROM message_images WHERE message_id = :message_id AND file_id IS NOT NULL

-- name: get_own_size
SELECT length(data) AS size FROM files WHERE id = :file_id AND user_id = :user_id

-- name: get_own
-- an image of the user's that a message still shows
SELECT media_type, data FROM files WHERE id = :file_id AND user_id = :user_id AND EXISTS (
    SELECT 1 FROM message_images JOIN messages ON messages.id = message_id
        JOIN conversations ON conversations.id = conversation_id
    WHERE file_id = files.id AND deleted_at IS NULL)

-- name: delete_unused
-- an image, if no message shows it any more
DELETE FROM files WHERE id = :file_id
    AND NOT EXISTS (SELECT 1 FROM message_images WHERE file_id = files.id)
