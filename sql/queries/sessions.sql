-- name: get_by_jti
-- a session that has not ended, with its user. A session whose token was issued ahead of the clock lasts its time from
-- when the clock was set back
SELECT valid.id, user_id, started_at, issued_at, expires_at, last_seen_at, username, role, token_version, ends_at
FROM (
    SELECT id, user_id, started_at, issued_at, expires_at, last_seen_at,
        coalesce(CASE WHEN issued_at > :now THEN :behind_since + expires_at - issued_at END, expires_at) AS ends_at
    FROM sessions WHERE jti = :jti
) AS valid JOIN users ON users.id = user_id
WHERE is_active AND ends_at > :now

-- name: list_own
SELECT id, started_at, last_seen_at, address, client, is_current, ends_at
FROM (
    SELECT id, started_at, last_seen_at, address, client, jti = :jti AS is_current,
        coalesce(CASE WHEN issued_at > :now THEN :behind_since + expires_at - issued_at END, expires_at) AS ends_at
    FROM sessions WHERE user_id = :user_id
) AS own
WHERE ends_at > :now ORDER BY last_seen_at DESC, id DESC

-- name: insert
-- no row: the account was changed since its password was checked
INSERT INTO sessions (jti, user_id, started_at, issued_at, expires_at, last_seen_at, address, client)
SELECT :jti, id, :issued_at, :issued_at, :expires_at, :issued_at, :address, :client
FROM users WHERE id = :user_id AND is_active AND token_version = :version
RETURNING id

-- name: renew
UPDATE sessions SET jti = :jti, issued_at = :issued_at, expires_at = :expires_at,
    last_seen_at = CASE WHEN last_seen_at > :issued_at THEN last_seen_at ELSE :issued_at END,
    address = :address, client = :client
WHERE id = :session_id

-- name: update_last_seen
-- the session may have been renewed in the meantime
UPDATE sessions SET last_seen_at = :now WHERE id = :session_id AND last_seen_at < :now

-- name: delete_by_jti
DELETE FROM sessions WHERE jti = :jti RETURNING id

-- name: delete_own
DELETE FROM sessions WHERE id = :session_id AND user_id = :user_id

-- name: delete_all_of_user
DELETE FROM sessions WHERE user_id = :user_id

-- name: delete_expired
-- only sessions that ended long ago: a clock that runs ahead for a while must not end everybody's session
DELETE FROM sessions WHERE expires_at <= :before AND issued_at <= :before

-- name: delete_expired_ahead
-- sessions issued ahead of the clock that have lasted their time since the clock was set back
DELETE FROM sessions WHERE issued_at > :now AND :behind_since + expires_at - issued_at <= :now

-- name: delete_oldest
-- all of a user's sessions but the newest and those seen last, :most together: after the clock was set back, others
-- have been seen later than the newest
DELETE FROM sessions WHERE user_id = :user_id AND id NOT IN (
    SELECT id FROM sessions WHERE user_id = :user_id
    ORDER BY id = :session_id DESC, last_seen_at DESC, id DESC LIMIT :most)
