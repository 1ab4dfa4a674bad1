-- name: put
INSERT INTO verification_codes (email_key, purpose, network, digest, expires_at)
VALUES (:email_key, :purpose, :network, :digest, :expires_at)
ON CONFLICT (email_key, purpose, network) DO UPDATE SET digest = excluded.digest, expires_at = excluded.expires_at,
    wrong_here = 0, wrong_elsewhere = 0

-- name: list_valid
-- the codes that a network may still try: wrong tries from other networks end a code for those networks only. A code
-- that expires after any code sent now (:latest) was sent while the clock ran ahead
SELECT digest FROM verification_codes
WHERE email_key = :email_key AND purpose = :purpose AND expires_at > :now AND expires_at <= :latest
    AND CASE WHEN network = :network THEN wrong_here ELSE wrong_elsewhere END < :most_tries

-- name: count_wrong_try
UPDATE verification_codes SET
    wrong_here = wrong_here + CASE WHEN network = :network THEN 1 ELSE 0 END,
    wrong_elsewhere = wrong_elsewhere + CASE WHEN network = :network THEN 0 ELSE 1 END
WHERE email_key = :email_key AND purpose = :purpose

-- name: use
DELETE FROM verification_codes WHERE email_key = :email_key AND purpose = :purpose

-- name: delete
-- for every purpose
DELETE FROM verification_codes WHERE email_key = :email_key

-- name: delete_of_purpose
-- for every address
DELETE FROM verification_codes WHERE purpose = :purpose

-- name: delete_expired
DELETE FROM verification_codes WHERE expires_at <= :now
