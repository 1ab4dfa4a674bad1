-- name: revoke
INSERT INTO revoked_tokens (jti, expires_at) VALUES (:jti, :expires_at) ON CONFLICT DO NOTHING

-- name: sweep
-- what is expired needs no revocation
DELETE FROM revoked_tokens WHERE expires_at < :now
