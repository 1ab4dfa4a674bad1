-- name: get
SELECT attempts, blocked_until, forget_at FROM throttles WHERE scope = :scope AND subject = :subject

-- name: put
INSERT INTO throttles (scope, subject, attempts, blocked_until, forget_at)
VALUES (:scope, :subject, :attempts, :blocked_until, :forget_at)
ON CONFLICT (scope, subject) DO UPDATE SET attempts = excluded.attempts, blocked_until = excluded.blocked_until,
    forget_at = excluded.forget_at

-- name: forget
DELETE FROM throttles WHERE scope = :scope AND subject = :subject

-- name: sweep
-- what is over, and what is over soonest where there are too many
DELETE FROM throttles WHERE forget_at <= max(:now,
    coalesce((SELECT forget_at FROM throttles ORDER BY forget_at DESC LIMIT 1 OFFSET :most), 0))
