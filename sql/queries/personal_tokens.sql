-- name: get_by_digest
-- an access token that may be used now, with its user
SELECT personal_tokens.id, user_id, username, role, opens_api, allowed_models, allowed_networks, expires_at
FROM personal_tokens JOIN users ON users.id = user_id
WHERE digest = :digest AND is_active AND personal_tokens.token_version = users.token_version
    AND (expires_at IS NULL OR expires_at > :now)

-- name: list_own
SELECT id, name, hint, opens_api, allowed_models, allowed_networks, expires_at, last_used_at, created_at,
    coalesce(tokens, 0) AS used, coalesce(cost, 0) AS cost
FROM personal_tokens LEFT JOIN token_usage ON token_id = id AND month = :month
WHERE user_id = :user_id ORDER BY id

-- name: insert
INSERT INTO personal_tokens (user_id, name, digest, hint, token_version, opens_api, allowed_models,
    allowed_networks, expires_at, created_at)
VALUES (:user_id, :name, :digest, :hint, (SELECT token_version FROM users WHERE id = :user_id), :opens_api,
    :allowed_models, :allowed_networks, :expires_at, :now)
RETURNING id, name, hint, opens_api, allowed_models, allowed_networks, expires_at, last_used_at, created_at,
    0 AS used, 0 AS cost

-- name: delete
DELETE FROM personal_tokens WHERE id = :token_id AND user_id = :user_id

-- name: update_last_used
UPDATE personal_tokens SET last_used_at = CASE WHEN last_used_at > :now THEN last_used_at ELSE :now END
WHERE id = :token_id

-- name: find_newest_hint
SELECT hint FROM personal_tokens WHERE user_id = :user_id ORDER BY id DESC LIMIT 1
