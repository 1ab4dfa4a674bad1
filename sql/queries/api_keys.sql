-- name: list_own
SELECT api_keys.id, api_keys.user_id, provider_id, provider_key, default_base_url, label, mask, base_url, origin,
    is_shared, priority, weight, health, cooldown_until, last_error, success_count, failure_count, last_used_at,
    api_keys.is_active, providers.is_active AS provider_is_active, api_keys.created_at, api_keys.updated_at
FROM api_keys JOIN providers ON providers.id = provider_id
WHERE user_id = :user_id ORDER BY api_keys.id

-- name: get_own
SELECT api_keys.id, api_keys.user_id, provider_id, provider_key, providers.display_name AS provider_name,
    providers.is_active AS provider_is_active, default_base_url, label, secret, mask, base_url,
    origin, is_shared, priority, weight, health, cooldown_until, last_error, success_count, failure_count,
    last_used_at, api_keys.is_active, api_keys.created_at, api_keys.updated_at, vouched_by,
    EXISTS (SELECT 1 FROM users WHERE users.id = vouched_by AND users.role = 'admin' AND users.is_active) AS is_vouched
FROM api_keys JOIN providers ON providers.id = provider_id
WHERE api_keys.id = :key_id AND user_id = :user_id

-- name: find_same
SELECT id FROM api_keys WHERE user_id = :user_id AND provider_id = :provider_id AND label = :label

-- name: list_for_chat
-- the keys that a turn of this user may use for the provider: its own and the shared ones
SELECT key.id, user_id, provider_id, secret, base_url, origin, priority, weight, health, cooldown_until, last_error,
    failure_class, failures_in_row,
    EXISTS (SELECT 1 FROM users WHERE users.id = vouched_by AND users.role = 'admin' AND users.is_active) AS is_vouched
FROM api_keys AS key JOIN users AS owner ON owner.id = user_id
WHERE provider_id = :provider_id AND key.is_active
    AND (user_id = :user_id OR (is_shared AND owner.is_active AND owner.role = 'admin'))
ORDER BY key.id

-- name: list_inheriting
-- the keys without a base URL of their own: they are sent to their provider's base URL
SELECT id, origin FROM api_keys WHERE provider_id = :provider_id AND base_url = ''

-- name: list_sealed
SELECT api_keys.id, user_id, provider_id, provider_key, secret, origin
FROM api_keys JOIN providers ON providers.id = provider_id ORDER BY api_keys.id

-- name: reseal
UPDATE api_keys SET secret = :secret WHERE id = :key_id

-- name: insert
INSERT INTO api_keys (user_id, provider_id, label, secret, mask, base_url, origin, vouched_by, is_shared, is_active,
    created_at, updated_at)
VALUES (:user_id, :provider_id, :label, :secret, :mask, :base_url, :origin, :vouched_by, :is_shared, 1, :now, :now)

-- name: update
UPDATE api_keys SET secret = :secret, mask = :mask, base_url = :base_url, origin = :origin,
    vouched_by = :vouched_by, is_shared = :is_shared, priority = :priority, weight = :weight, is_active = :is_active, updated_at = max(updated_at, :now)
WHERE id = :key_id

-- name: toggle
UPDATE api_keys SET is_active = 1 - is_active, updated_at = max(updated_at, :now)
WHERE id = :key_id AND user_id = :user_id

-- name: get_health
SELECT failures_in_row, health, cooldown_until, failure_class FROM api_keys WHERE id = :key_id

-- name: set_health
UPDATE api_keys SET health = :health, cooldown_until = :cooldown_until, last_error = :last_error,
    failure_class = :failure_class, failures_in_row = :failures_in_row, failure_count = failure_count + :failures, last_used_at = max(last_used_at, :now)
WHERE id = :key_id

-- name: note_success
UPDATE api_keys SET health = 'ok', cooldown_until = 0, last_error = '', failure_class = '', failures_in_row = 0,
    success_count = success_count + 1, last_used_at = max(last_used_at, :now)
WHERE id = :key_id
RETURNING success_count

-- name: heal
UPDATE api_keys SET health = 'ok', cooldown_until = 0, last_error = '', failure_class = '', failures_in_row = 0 WHERE id = :key_id

-- name: renew
UPDATE api_keys SET health = 'ok', cooldown_until = 0, last_error = '', failure_class = '', failures_in_row = 0, success_count = 0,
    failure_count = 0, last_used_at = 0
WHERE id = :key_id

-- name: describe
-- what the audit records of a key
SELECT provider_key AS provider, label, mask, user_id AS owner_id
FROM api_keys JOIN providers ON providers.id = provider_id
WHERE api_keys.id = :key_id

-- name: delete
DELETE FROM api_keys WHERE id = :key_id AND user_id = :user_id
