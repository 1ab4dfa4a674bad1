-- name: find_by_digest
SELECT id FROM files WHERE user_id = :user_id AND digest = :digest

-- name: insert
INSERT INTO files (id, user_id, digest, media_type, data, created_at)
VALUES (:file_id, :user_id, :digest, :media_type, :data, :now)

-- name: insert_image
INSERT INTO message_images (message_id, position, file_id, url, at)
VALUES (:message_id, :position, :file_id, :url, :at)

-- name: insert_attachment
INSERT INTO message_attachments (message_id, position, file_id, url, media_type, name, transcript, text_before)
VALUES (:message_id, :position, :file_id, :url, :media_type, :name, :transcript, :text_before)

-- name: list_for_message
SELECT media_type, data, url, at FROM message_images LEFT JOIN files ON files.id = file_id
WHERE message_id = :message_id ORDER BY position

-- name: list_made_for_message
-- the images of a reply that a provider can be sent
SELECT files.media_type, data, '' AS url, text_before AS at FROM message_attachments JOIN files ON files.id = file_id
WHERE message_id = :message_id AND files.media_type IN ('image/png', 'image/jpeg', 'image/gif', 'image/webp')
ORDER BY position

-- name: get_size_for_message
-- the bytes of the images of a message, which are a prompt's or a reply's
SELECT coalesce(sum(size), 0) AS size FROM (
    SELECT length(data) AS size FROM message_images JOIN files ON files.id = file_id
    WHERE message_id = :message_id
    UNION ALL
    SELECT length(data) FROM message_attachments JOIN files ON files.id = file_id
    WHERE message_id = :message_id
        AND files.media_type IN ('image/png', 'image/jpeg', 'image/gif', 'image/webp'))

-- name: list_ids_for_message
-- the stored images and attachments of a message
SELECT file_id AS id FROM message_images WHERE message_id = :message_id AND file_id IS NOT NULL
UNION ALL
SELECT file_id FROM message_attachments WHERE message_id = :message_id AND file_id IS NOT NULL

-- name: get_own_size
SELECT length(data) AS size FROM files WHERE id = :file_id AND user_id = :user_id

-- name: get_own
-- a file of the user's that a message still shows, and its name
SELECT media_type, data, coalesce((
        SELECT name FROM message_attachments WHERE file_id = files.id AND name <> '' LIMIT 1), '') AS name
FROM files WHERE id = :file_id AND user_id = :user_id AND (EXISTS (
    SELECT 1 FROM message_images JOIN messages ON messages.id = message_id
        JOIN conversations ON conversations.id = conversation_id
    WHERE file_id = files.id AND deleted_at IS NULL)
OR EXISTS (
    SELECT 1 FROM message_attachments JOIN messages ON messages.id = message_id
        JOIN conversations ON conversations.id = conversation_id
    WHERE file_id = files.id AND deleted_at IS NULL))

-- name: delete_unused
-- a file, if no message shows it any more
DELETE FROM files WHERE id = :file_id
    AND NOT EXISTS (SELECT 1 FROM message_images WHERE file_id = files.id)
    AND NOT EXISTS (SELECT 1 FROM message_attachments WHERE file_id = files.id)
