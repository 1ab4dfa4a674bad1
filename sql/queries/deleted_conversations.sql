-- name: find
SELECT deleted_at FROM deleted_conversations
WHERE user_id = :user_id AND public_id = :public_id AND deleted_at >= :since

-- name: put
INSERT INTO deleted_conversations (user_id, public_id, deleted_at) VALUES (:user_id, :public_id, :now)
ON CONFLICT (user_id, public_id) DO UPDATE SET deleted_at = excluded.deleted_at

-- name: delete_older
-- at most :limit rows of all users
DELETE FROM deleted_conversations WHERE (user_id, public_id) IN (
    SELECT user_id, public_id FROM deleted_conversations WHERE deleted_at < :before LIMIT :limit)

-- name: delete_all_but_newest
DELETE FROM deleted_conversations WHERE user_id = :user_id AND (deleted_at, public_id) <= (
    SELECT deleted_at, public_id FROM deleted_conversations WHERE user_id = :user_id
    ORDER BY deleted_at DESC, public_id DESC LIMIT 1 OFFSET :most)
