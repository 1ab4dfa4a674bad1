-- name: list_all
SELECT invites.id, hint, note, invites.subscription_type, max_uses, uses, coalesce(username, '(operator)') AS created_by, expires_at,
    invites.created_at
FROM invites LEFT JOIN users ON users.id = created_by ORDER BY invites.id DESC

-- name: count_all
SELECT count(*) AS count FROM invites

-- name: insert
INSERT INTO invites (digest, hint, note, subscription_type, max_uses, created_by, expires_at, created_at)
VALUES (:digest, :hint, :note, :subscription_type, :max_uses, :created_by, :expires_at, :now)
RETURNING id, hint, note, subscription_type, max_uses, uses,
    coalesce((SELECT username FROM users WHERE users.id = created_by), '(operator)') AS created_by, expires_at, created_at

-- name: use
-- no row: there is no such code, or it is used up or expired
UPDATE invites SET uses = uses + 1 WHERE digest = :digest AND uses < max_uses AND expires_at > :now
RETURNING id, hint, subscription_type

-- name: delete
DELETE FROM invites WHERE id = :invite_id

-- name: delete_expired
DELETE FROM invites WHERE expires_at < :before
