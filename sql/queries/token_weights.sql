-- name: list_newest_first
SELECT provider, model, state FROM token_weights ORDER BY updated_at DESC LIMIT :most

-- name: put
INSERT INTO token_weights (provider, model, state, updated_at) VALUES (:provider, :model, :state, :now)
ON CONFLICT DO UPDATE SET state = excluded.state,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END

-- name: delete_oldest
-- all but the newest
DELETE FROM token_weights WHERE (provider, model) IN (
    SELECT provider, model FROM token_weights ORDER BY updated_at DESC LIMIT -1 OFFSET :kept)
