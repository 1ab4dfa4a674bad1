-- name: find
SELECT id FROM files WHERE user_id = :user_id AND digest = :digest

-- name: insert
INSERT INTO files (id, user_id, digest, media_type, data, created_at)
VALUES (:file_id, :user_id, :digest, :media_type, :data, :now)

-- name: attach
INSERT INTO message_images (message_id, position, file_id, url) VALUES (:message_id, :position, :file_id, :url)

-- name: list_for_message
SELECT media_type, data, url FROM message_images LEFT JOIN files ON files.id = file_id
WHERE message_id = :message_id ORDER BY position

-- name: get_own
SELECT media_type, data FROM files WHERE id = :file_id AND user_id = :user_id

-- name: sweep
-- pictures that no message shows any more
DELETE FROM files WHERE user_id = :user_id
    AND NOT EXISTS (SELECT 1 FROM message_images WHERE file_id = files.id)
