-- name: put
INSERT INTO verification_codes (email_key, digest, expires_at) VALUES (:email_key, :digest, :expires_at)
ON CONFLICT (email_key) DO UPDATE SET digest = excluded.digest, wrong_tries = 0, expires_at = excluded.expires_at

-- name: get
SELECT digest FROM verification_codes
WHERE email_key = :email_key AND wrong_tries < :most_tries AND expires_at > :now

-- name: count_wrong_try
UPDATE verification_codes SET wrong_tries = wrong_tries + 1 WHERE email_key = :email_key

-- name: delete
DELETE FROM verification_codes WHERE email_key = :email_key

-- name: sweep
DELETE FROM verification_codes WHERE expires_at <= :now
