-- name: get_by_jti
-- a login that holds, with its user
SELECT sessions.id AS session_id, users.id, started_at, last_seen_at, username, role, token_version
FROM sessions JOIN users ON users.id = user_id
WHERE jti = :jti AND is_active AND expires_at > :now

-- name: list_own
SELECT id, started_at, last_seen_at, expires_at, address, client, jti = :jti AS is_current
FROM sessions WHERE user_id = :user_id AND expires_at > :now ORDER BY last_seen_at DESC, id DESC

-- name: insert
-- nothing, if the account was changed since its password was checked
INSERT INTO sessions (jti, user_id, started_at, issued_at, expires_at, last_seen_at, address, client)
SELECT :jti, id, :now, :now, :expires_at, :now, :address, :client
FROM users WHERE id = :user_id AND is_active AND token_version = :version
RETURNING id

-- name: renew
UPDATE sessions SET jti = :jti, issued_at = :now, expires_at = :expires_at, last_seen_at = :now,
    address = :address, client = :client
WHERE id = :session_id

-- name: note_seen
-- it may have been renewed since
UPDATE sessions SET last_seen_at = :now WHERE id = :session_id AND last_seen_at < :now

-- name: end_by_jti
DELETE FROM sessions WHERE jti = :jti RETURNING id

-- name: end_own
DELETE FROM sessions WHERE id = :session_id AND user_id = :user_id

-- name: end_all
DELETE FROM sessions WHERE user_id = :user_id

-- name: sweep
DELETE FROM sessions WHERE expires_at <= :now

-- name: trim
-- all of a user's but the newest and those that were seen last, :most altogether: where the clock was set
-- back, others were seen later than the newest
DELETE FROM sessions WHERE user_id = :user_id AND id NOT IN (
    SELECT id FROM sessions WHERE user_id = :user_id
    ORDER BY id = :session_id DESC, last_seen_at DESC, id DESC LIMIT :most)
