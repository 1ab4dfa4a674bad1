-- name: newest
-- the newest moment that was stored of what people did (milliseconds); the audit and the ledger are asked for their
-- ends only, lists by their indexes
SELECT max(
    coalesce((SELECT max(updated_at) FROM users), 0),
    coalesce((SELECT max((SELECT max(updated_at) FROM conversations WHERE user_id = users.id)) FROM users), 0),
    coalesce((SELECT max((SELECT max(last_seen_at) FROM sessions WHERE user_id = users.id)) FROM users), 0),
    coalesce((SELECT at FROM audit ORDER BY id DESC LIMIT 1), 0),
    coalesce((SELECT at FROM ledger ORDER BY day DESC, id DESC LIMIT 1), 0)) AS newest
