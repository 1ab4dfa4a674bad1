-- name: list_own
-- the rests of a user's API keys that have not ended
SELECT key_id, model, until, code, http_status
FROM model_rests JOIN api_keys ON api_keys.id = key_id
WHERE user_id = :user_id AND until > :now
ORDER BY key_id, model

-- name: list_for_caller
-- the rests after failures of one class of the API keys that a user may use
SELECT key_id, model, until FROM model_rests
WHERE failure_class = :failure_class AND until > :now AND key_id IN (
    SELECT api_key.id FROM api_keys AS api_key JOIN users AS owner ON owner.id = user_id
    WHERE api_key.is_active = 1
        AND (user_id = :user_id OR (is_shared = 1 AND owner.is_active = 1 AND owner.role = 'admin')))

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
