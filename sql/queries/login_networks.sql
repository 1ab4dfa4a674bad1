-- name: is_known
SELECT 1 FROM users JOIN login_networks ON user_id = users.id
WHERE username_key = :username_key AND network = :network AND last_at > :since

-- name: note
INSERT INTO login_networks (user_id, network, last_at) VALUES (:user_id, :network, :now)
ON CONFLICT (user_id, network) DO UPDATE SET last_at = excluded.last_at

-- name: sweep
-- a user keeps :network and the latest, :most altogether, and none from before :since
DELETE FROM login_networks WHERE user_id = :user_id AND (last_at <= :since OR network NOT IN (
    SELECT network FROM login_networks WHERE user_id = :user_id
    ORDER BY network = :network DESC, last_at DESC LIMIT :most))
