-- name: find_known
SELECT user_id FROM users JOIN login_networks ON user_id = users.id
WHERE username_key = :username_key AND network = :network AND last_at > :since

-- name: put
INSERT INTO login_networks (user_id, network, last_at) VALUES (:user_id, :network, :now)
ON CONFLICT (user_id, network) DO UPDATE SET last_at = excluded.last_at

-- name: delete_oldest
-- a user keeps :network and the latest, :most together, and none from before :since
DELETE FROM login_networks WHERE user_id = :user_id AND (last_at <= :since OR network NOT IN (
    SELECT network FROM login_networks WHERE user_id = :user_id
    ORDER BY network = :network DESC, last_at DESC LIMIT :most))
