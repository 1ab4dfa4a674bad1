-- name: list_own
SELECT api_keys.id, api_keys.user_id, provider_id, provider_key AS provider_slug,
    providers.display_name AS provider_name, default_base_url, providers.is_active AS provider_is_active,
    label, mask, base_url, origin, vouched_by, is_shared, priority, weight, health, cooldown_until, last_error,
    last_error_json, success_count, failure_count, last_used_at, api_keys.is_active, api_keys.created_at, api_keys.updated_at
FROM api_keys JOIN providers ON providers.id = provider_id
WHERE user_id = :user_id ORDER BY api_keys.id

-- name: get_own
SELECT api_keys.id, api_keys.user_id, provider_id, provider_key AS provider_slug,
    providers.display_name AS provider_name, default_base_url, providers.is_active AS provider_is_active,
    label, mask, base_url, origin, vouched_by, is_shared, priority, weight, health, cooldown_until, last_error,
    last_error_json, success_count, failure_count, last_used_at, api_keys.is_active, api_keys.created_at, api_keys.updated_at
FROM api_keys JOIN providers ON providers.id = provider_id
WHERE api_keys.id = :key_id AND user_id = :user_id

-- name: find_same
SELECT id FROM api_keys WHERE user_id = :user_id AND provider_id = :provider_id AND label = :label

-- name: list_for_chat
-- what a chat of this user may use for the provider: its own API keys and the shared ones, with their rests for a model
SELECT api_key.id, user_id, provider_id, origin, secret, base_url,
    EXISTS (SELECT 1 FROM users WHERE users.id = vouched_by AND users.role = 'admin' AND users.is_active = 1)
        AS is_vouched,
    priority, weight, health, cooldown_until, last_error, last_error_json, api_key.failure_class, api_key.failures_in_row,
    coalesce(rest.until, 0) AS model_until, coalesce(rest.failure_class, '') AS model_failure_class
FROM api_keys AS api_key JOIN users AS owner ON owner.id = user_id
    LEFT JOIN model_rests AS rest ON rest.key_id = api_key.id AND rest.model = :model
WHERE provider_id = :provider_id AND api_key.is_active = 1
    AND (user_id = :user_id OR (is_shared = 1 AND owner.is_active = 1 AND owner.role = 'admin'))
ORDER BY api_key.id

-- name: list_for_caller
-- the same for all providers at once: which models a user can use
SELECT api_key.id, user_id, provider_id, origin, secret, base_url, health
FROM api_keys AS api_key JOIN users AS owner ON owner.id = user_id
WHERE api_key.is_active = 1
    AND (user_id = :user_id OR (is_shared = 1 AND owner.is_active = 1 AND owner.role = 'admin'))
ORDER BY api_key.id

-- name: get_for_test
-- an API key of this user's own, usable or not
SELECT id, user_id, provider_id, origin, secret, base_url,
    EXISTS (SELECT 1 FROM users WHERE users.id = vouched_by AND users.role = 'admin' AND users.is_active = 1)
        AS is_vouched
FROM api_keys WHERE id = :key_id AND user_id = :user_id

-- name: list_inheriting
-- the API keys that go where their provider's base URL points
SELECT origin FROM api_keys WHERE provider_id = :provider_id AND base_url = ''

-- name: list_sealed
SELECT api_keys.id, user_id, provider_id, origin, secret, provider_key AS provider_slug
FROM api_keys JOIN providers ON providers.id = provider_id ORDER BY api_keys.id

-- name: reseal
UPDATE api_keys SET secret = :secret WHERE id = :key_id

-- name: insert
INSERT INTO api_keys (user_id, provider_id, label, secret, mask, base_url, origin, vouched_by, is_shared, is_active,
    created_at, updated_at)
VALUES (:user_id, :provider_id, :label, :secret, :mask, :base_url, :origin, :vouched_by, :is_shared, 1, :now, :now)
RETURNING id

-- name: update
-- without a :secret the stored one stays
UPDATE api_keys SET secret = coalesce(:secret, secret), mask = :mask, base_url = :base_url, origin = :origin,
    vouched_by = :vouched_by, is_shared = :is_shared, priority = :priority, weight = :weight,
    is_active = :is_active, updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :key_id

-- name: toggle
UPDATE api_keys SET is_active = 1 - is_active,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :key_id AND user_id = :user_id

-- name: get_health
SELECT health, cooldown_until, failure_class, failures_in_row FROM api_keys WHERE id = :key_id

-- name: record_failure
UPDATE api_keys SET health = :health, cooldown_until = :cooldown_until, last_error = '',
    last_error_json = :last_error_json,
    failure_class = :failure_class, failures_in_row = :failures_in_row, failure_count = failure_count + 1,
    last_used_at = CASE WHEN last_used_at > :now THEN last_used_at ELSE :now END
WHERE id = :key_id

-- name: record_success
UPDATE api_keys SET health = 'ok', cooldown_until = 0, last_error = '', last_error_json = '', failure_class = '', failures_in_row = 0,
    success_count = success_count + 1,
    last_used_at = CASE WHEN last_used_at > :now THEN last_used_at ELSE :now END
WHERE id = :key_id
RETURNING success_count

-- name: reset_after_test
UPDATE api_keys SET health = 'ok', cooldown_until = 0, last_error = '', last_error_json = '', failure_class = '', failures_in_row = 0
WHERE id = :key_id

-- name: reset_after_replacement
UPDATE api_keys SET health = 'ok', cooldown_until = 0, last_error = '', last_error_json = '', failure_class = '', failures_in_row = 0,
    success_count = 0, failure_count = 0, last_used_at = 0
WHERE id = :key_id

-- name: describe
-- an API key in the audit
SELECT provider_key AS provider, label, mask, user_id AS owner_id
FROM api_keys JOIN providers ON providers.id = provider_id
WHERE api_keys.id = :key_id

-- name: delete
DELETE FROM api_keys WHERE id = :key_id AND user_id = :user_id

-- name: list_names
-- what tells the API keys of a provider apart
SELECT api_keys.id, label, mask FROM api_keys JOIN providers ON providers.id = provider_id
WHERE provider_key = :provider ORDER BY api_keys.id

-- name: count_by_health
-- those whose pause is over are counted together
SELECT provider_key AS provider_slug, api_keys.is_active, health, failure_class,
    CASE WHEN cooldown_until > :now THEN cooldown_until ELSE 0 END AS until, count(*) AS count
FROM api_keys JOIN providers ON providers.id = provider_id
GROUP BY 1, 2, 3, 4, 5
