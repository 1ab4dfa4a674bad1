-- name: get_by_public_id
SELECT id, user_id, title, head_id FROM conversations WHERE public_id = :public_id AND deleted_at IS NULL

-- name: list_ids
-- a user's conversations, newest first, after the row (:updated_at, :before_id)
SELECT id, public_id FROM conversations
WHERE user_id = :user_id AND (updated_at, id) < (:updated_at, :before_id) AND deleted_at IS NULL
ORDER BY updated_at DESC, id DESC
LIMIT :limit

-- name: get_shown
SELECT conversations.id, public_id, title, model, username, message_count, head_id, conversations.created_at, conversations.updated_at
FROM conversations JOIN users ON users.id = user_id
WHERE conversations.id = :conversation_id AND deleted_at IS NULL

-- name: get_own
SELECT conversations.id, public_id, title, model, username, message_count, head_id, conversations.created_at,
    conversations.updated_at
FROM conversations JOIN users ON users.id = user_id
WHERE public_id = :public_id AND user_id = :user_id AND deleted_at IS NULL

-- name: insert
INSERT INTO conversations (public_id, user_id, title, model, created_at, updated_at)
VALUES (:public_id, :user_id, :title, :model, :now, :now)
RETURNING id, user_id, title, head_id

-- name: add_turn
-- a new turn at the end of the branch; the cost does not depend on the branch's length. The conversation moves to the
-- top of its user's list, also if the clock is behind the stamp of another one
UPDATE conversations SET head_id = :head_id, model = :model, message_count = message_count + :more,
    updated_at = (SELECT max(stamp) FROM (
    SELECT :now AS stamp UNION ALL SELECT conversations.updated_at UNION ALL
    SELECT 1 + max(other.updated_at) FROM conversations AS other
    WHERE other.user_id = conversations.user_id AND other.deleted_at IS NULL AND other.id <> conversations.id) AS stamps)
WHERE id = :conversation_id

-- name: update_message_count
-- after another change of the branch
UPDATE conversations SET message_count = (
    WITH RECURSIVE branch (id) AS (
        SELECT head_id
        UNION ALL
        SELECT messages.parent_id FROM branch JOIN messages ON messages.id = branch.id
    )
    SELECT count(id) FROM branch)
WHERE id = :conversation_id

-- name: set_head
UPDATE conversations SET head_id = :head_id WHERE id = :conversation_id

-- name: touch
-- moves it to the top of its user's list, as above
UPDATE conversations SET updated_at = (SELECT max(stamp) FROM (
    SELECT :now AS stamp UNION ALL SELECT conversations.updated_at UNION ALL
    SELECT 1 + max(other.updated_at) FROM conversations AS other
    WHERE other.user_id = conversations.user_id AND other.deleted_at IS NULL AND other.id <> conversations.id) AS stamps)
WHERE id = :conversation_id

-- name: rename
UPDATE conversations SET title = :title, title_is_own = 1 WHERE id = :conversation_id

-- name: suggest_title
-- a title that the model suggested; a title of the user's stays
UPDATE conversations SET title = :title WHERE id = :conversation_id AND title_is_own = 0

-- name: mark_deleted
-- no response shows it from now on. Its id is free for another conversation: ids in requests never have a slash
UPDATE conversations SET deleted_at = :now, head_id = NULL, public_id = public_id || '/' || id
WHERE public_id = :public_id AND user_id = :user_id AND deleted_at IS NULL

-- name: mark_some_deleted
-- the same of some conversations of a user in which nothing is generated
UPDATE conversations SET deleted_at = :now, head_id = NULL, public_id = public_id || '/' || id
WHERE id IN (
    SELECT id FROM conversations WHERE user_id = :user_id AND deleted_at IS NULL AND NOT EXISTS (
        SELECT 1 FROM messages INDEXED BY messages_streaming
        WHERE conversation_id = conversations.id AND status = 'streaming')
    LIMIT :most)
RETURNING id, public_id

-- name: mark_unchanged_deleted
-- the same of conversations of all users that did not change from :since until :before
UPDATE conversations SET deleted_at = :now, head_id = NULL, public_id = public_id || '/' || id
WHERE id IN (
    SELECT conversations.id FROM users CROSS JOIN conversations
    WHERE conversations.user_id = users.id AND deleted_at IS NULL AND conversations.updated_at >= :since
        AND conversations.updated_at < :before AND NOT EXISTS (
            SELECT 1 FROM messages INDEXED BY messages_streaming
            WHERE conversation_id = conversations.id AND status = 'streaming')
    LIMIT :most)
RETURNING id, public_id, user_id

-- name: insert_deleted
-- a conversation for messages that are being removed
INSERT INTO conversations (public_id, user_id, title, model, deleted_at, created_at, updated_at)
VALUES (:public_id, :user_id, '', '', :now, :now, :now)
RETURNING id

-- name: find_deleted
-- a conversation that is being removed, and its newest message (NULL: none is left)
SELECT id, (SELECT max(messages.id) FROM messages WHERE conversation_id = conversations.id) AS newest_id
FROM conversations WHERE deleted_at IS NOT NULL ORDER BY id DESC LIMIT 1

-- name: delete
DELETE FROM conversations WHERE id = :conversation_id

-- name: count_for_user
SELECT count(*) AS conversations, coalesce(sum(message_count), 0) AS messages
FROM conversations WHERE user_id = :user_id AND deleted_at IS NULL
