-- name: list_own
-- the rests of a user's API keys that have not ended
SELECT key_id, model, until, code, http_status
FROM model_rests JOIN api_keys ON api_keys.id = key_id
WHERE user_id = :user_id AND until > :now
ORDER BY key_id, model

-- name: get
SELECT until, failure_class, failures_in_row FROM model_rests WHERE key_id = :key_id AND model = :model

-- name: put
INSERT INTO model_rests (key_id, model, until, failure_class, code, http_status, failures_in_row, failed_at)
VALUES (:key_id, :model, :until, :failure_class, :code, :http_status, :failures_in_row, :now)
ON CONFLICT DO UPDATE SET until = excluded.until, failure_class = excluded.failure_class, code = excluded.code,
    http_status = excluded.http_status, failures_in_row = excluded.failures_in_row, failed_at = excluded.failed_at

-- name: delete_oldest
-- all but the newest of an API key
DELETE FROM model_rests WHERE key_id = :key_id AND model NOT IN (
    SELECT model FROM model_rests WHERE key_id = :key_id ORDER BY failed_at DESC, model LIMIT :kept)

-- name: delete
DELETE FROM model_rests WHERE key_id = :key_id AND model = :model

-- name: delete_of_key
DELETE FROM model_rests WHERE key_id = :key_id
