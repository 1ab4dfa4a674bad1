-- name: get
SELECT attempts, blocked_until, forget_at FROM throttles WHERE scope = :scope AND subject = :subject

-- name: put
INSERT INTO throttles (scope, subject, attempts, blocked_until, forget_at)
VALUES (:scope, :subject, :attempts, :blocked_until, :forget_at)
ON CONFLICT (scope, subject) DO UPDATE SET attempts = excluded.attempts, blocked_until = excluded.blocked_until,
    forget_at = excluded.forget_at

-- name: delete
DELETE FROM throttles WHERE scope = :scope AND subject = :subject

-- name: delete_expired
-- of more than :most rows also those that expire first
DELETE FROM throttles WHERE forget_at <= :now
    OR forget_at <= (SELECT forget_at FROM throttles ORDER BY forget_at DESC LIMIT 1 OFFSET :most)
