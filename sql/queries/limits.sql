-- The limits of subscriptions, users and access tokens. No other file of queries names their columns.

-- name: list_of_subscriptions
SELECT usage_limit, cost_limit, requests_per_minute, replies_at_once, storage_limit, name
FROM subscriptions ORDER BY usage_limit, name

-- name: get_of_subscription
SELECT usage_limit, cost_limit, requests_per_minute, replies_at_once, storage_limit, name
FROM subscriptions WHERE name = :name

-- name: update_of_subscription
UPDATE subscriptions SET usage_limit = :usage_limit, cost_limit = :cost_limit,
    requests_per_minute = :requests_per_minute, replies_at_once = :replies_at_once, storage_limit = :storage_limit
WHERE name = :name

-- name: get_of_user
-- the limits that apply to the user, and the bytes that it stores
SELECT usage_limit, most_cost, requests_per_minute, replies_at_once, storage_limit, storage_used, user_id
FROM limits WHERE user_id = :user_id

-- name: list_of_users
-- the same of several; :user_ids is a JSON list, for which the engines have no common form
SELECT usage_limit, most_cost, requests_per_minute, replies_at_once, storage_limit, storage_used, user_id
FROM limits WHERE user_id IN (SELECT value FROM json_each(:user_ids))

-- name: get_own_of_user
SELECT usage_limit, cost_limit, requests_per_minute, replies_at_once, storage_limit FROM users WHERE id = :user_id

-- name: update_of_user
UPDATE users SET usage_limit = :usage_limit, cost_limit = :cost_limit,
    requests_per_minute = :requests_per_minute, replies_at_once = :replies_at_once, storage_limit = :storage_limit
WHERE id = :user_id

-- name: list_of_tokens
-- of all access tokens of a user
SELECT monthly_limit AS usage_limit, cost_limit, requests_per_minute, replies_at_once, id AS token_id
FROM personal_tokens WHERE user_id = :user_id

-- name: update_of_token
UPDATE personal_tokens SET monthly_limit = :usage_limit, cost_limit = :cost_limit,
    requests_per_minute = :requests_per_minute, replies_at_once = :replies_at_once
WHERE id = :token_id

-- name: find_cost_limit
-- whether a budget of money bounds a user, or its access token
SELECT 1 AS found FROM limits WHERE user_id = :user_id AND most_cost IS NOT NULL
UNION ALL
SELECT 1 FROM personal_tokens WHERE id = :token_id AND cost_limit IS NOT NULL

-- name: list_with_usage
-- what a user may use, what it used from :first_day to before :next_day, and what is reserved for its replies; then the
-- same for the access token of the request, if it came with one. The reservations that :ended names (a JSON list, for
-- which the engines have no common form) are of replies that are not being generated any more
SELECT 'user' AS owner, most_tokens, most_cost, limits.requests_per_minute, limits.replies_at_once, storage_limit,
    storage_used, (SELECT is_active FROM users WHERE id = :user_id) AS is_active,
    (SELECT coalesce(sum(counted_tokens), 0) FROM usage_sums_by_day
        WHERE user_id = :user_id AND day >= :first_day AND day < :next_day) AS used_tokens,
    (SELECT coalesce(sum(cost), 0) FROM usage_sums_by_day
        WHERE user_id = :user_id AND day >= :first_day AND day < :next_day) AS used_cost,
    (SELECT coalesce(sum(tokens), 0) FROM reservations WHERE user_id = :user_id) AS reserved_tokens,
    (SELECT coalesce(sum(cost), 0) FROM reservations WHERE user_id = :user_id) AS reserved_cost,
    (SELECT count(*) FROM reservations WHERE user_id = :user_id
        AND id NOT IN (SELECT value FROM json_each(:ended))) AS running
FROM limits WHERE limits.user_id = :user_id
UNION ALL
SELECT 'token', token.monthly_limit, token.cost_limit, token.requests_per_minute, token.replies_at_once, NULL, 0,
    (SELECT is_active FROM users WHERE id = :user_id),
    coalesce(spent.tokens, 0), coalesce(spent.cost, 0),
    (SELECT coalesce(sum(tokens), 0) FROM reservations WHERE user_id = :user_id AND token_id = :token_id),
    (SELECT coalesce(sum(cost), 0) FROM reservations WHERE user_id = :user_id AND token_id = :token_id),
    (SELECT count(*) FROM reservations WHERE user_id = :user_id AND token_id = :token_id
        AND id NOT IN (SELECT value FROM json_each(:ended)))
FROM personal_tokens AS token LEFT JOIN token_usage AS spent ON spent.token_id = token.id AND month = :month
WHERE token.id = :token_id
