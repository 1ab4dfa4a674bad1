-- name: list_conversations
SELECT id, public_id FROM conversations
WHERE user_id = :user_id AND deleted_at IS NULL ORDER BY updated_at DESC, id DESC

-- name: list_messages
-- the ids of a piece of the messages of a conversation, of all branches
SELECT id FROM messages WHERE conversation_id = :conversation_id AND id > :after ORDER BY id LIMIT :most

-- name: get_options
SELECT options FROM messages WHERE id = :message_id

-- name: list_files
-- a piece of a user's files
SELECT id, digest FROM files WHERE user_id = :user_id AND digest > :after ORDER BY digest LIMIT :most

-- name: list_responses
-- a piece of a user's stored responses
SELECT id, public_id FROM responses
WHERE user_id = :user_id AND id > :after AND NOT is_deleted ORDER BY id LIMIT :most

-- name: list_networks
SELECT network, last_at FROM login_networks WHERE user_id = :user_id ORDER BY network

-- name: list_invites
SELECT invites.id, hint, note, invites.subscription_type, max_uses, uses, username AS created_by, expires_at,
    invites.created_at
FROM invites JOIN users ON users.id = created_by WHERE created_by = :user_id ORDER BY invites.id
