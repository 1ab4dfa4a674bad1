-- name: get_by_jti
-- a login that holds, with its user. One from ahead of the clock holds for its time from when the clock was set back
SELECT sessions.id AS session_id, users.id, started_at, issued_at, expires_at, last_seen_at, username, role,
    token_version, coalesce(iif(issued_at > :now, :behind_since + expires_at - issued_at, NULL), expires_at) AS ends_at
FROM sessions JOIN users ON users.id = user_id
WHERE jti = :jti AND is_active AND ends_at > :now

-- name: list_own
SELECT id, started_at, last_seen_at, address, client, jti = :jti AS is_current,
    coalesce(iif(issued_at > :now, :behind_since + expires_at - issued_at, NULL), expires_at) AS ends_at
FROM sessions WHERE user_id = :user_id AND ends_at > :now
ORDER BY last_seen_at DESC, id DESC

-- name: insert
-- nothing, if the account was changed since its password was checked
INSERT INTO sessions (jti, user_id, started_at, issued_at, expires_at, last_seen_at, address, client)
SELECT :jti, id, :issued_at, :issued_at, :expires_at, :issued_at, :address, :client
FROM users WHERE id = :user_id AND is_active AND token_version = :version
RETURNING id

-- name: renew
UPDATE sessions SET jti = :jti, issued_at = :issued_at, expires_at = :expires_at,
    last_seen_at = max(last_seen_at, :issued_at), address = :address, client = :client
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
-- what is long over: a clock that runs ahead for once must not end everybody's login
DELETE FROM sessions WHERE expires_at <= :before AND issued_at <= :before

-- name: sweep_ahead
-- what lies ahead of the clock and has lasted its time since that was set back
DELETE FROM sessions WHERE issued_at > :now AND :behind_since + expires_at - issued_at <= :now

-- name: trim
-- all of a user's but the newest and those that were seen last, :most altogether: where the clock was set
-- back, others were seen later than the newest
DELETE FROM sessions WHERE user_id = :user_id AND id NOT IN (
    SELECT id FROM sessions WHERE user_id = :user_id
    ORDER BY id = :session_id DESC, last_seen_at DESC, id DESC LIMIT :most)
