-- name: put
INSERT INTO verification_codes (email_key, network, digest, expires_at)
VALUES (:email_key, :network, :digest, :expires_at)
ON CONFLICT (email_key, network) DO UPDATE SET digest = excluded.digest, expires_at = excluded.expires_at,
    wrong_here = 0, wrong_elsewhere = 0

-- name: list_valid
-- those that may be tried from a network: others' guesses end a code for the others only. What ends later than any that
-- is sent now (:latest) was sent by a clock that ran ahead
SELECT digest FROM verification_codes
WHERE email_key = :email_key AND expires_at > :now AND expires_at <= :latest
    AND iif(network = :network, wrong_here, wrong_elsewhere) < :most_tries

-- name: count_wrong_try
UPDATE verification_codes SET wrong_here = wrong_here + (network = :network),
    wrong_elsewhere = wrong_elsewhere + (network <> :network)
WHERE email_key = :email_key

-- name: delete
DELETE FROM verification_codes WHERE email_key = :email_key

-- name: sweep
DELETE FROM verification_codes WHERE expires_at <= :now
