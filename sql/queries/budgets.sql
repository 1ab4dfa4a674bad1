-- name: list_limits
-- what a user may use, what it used from :first_day to before :next_day, and what is reserved for its replies; then the
-- same for the access token of the request, if it came with one. The reservations that :ended names (a JSON list, for
-- which the engines have no common form) are of replies that are not being generated any more
SELECT 'user' AS owner, most_tokens, most_cost, limits.requests_per_minute, limits.replies_at_once,
    (SELECT is_active FROM users WHERE id = :user_id) AS is_active,
    (SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM usage_sums_by_day
        WHERE user_id = :user_id AND day >= :first_day AND day < :next_day) AS used_tokens,
    (SELECT coalesce(sum(cost), 0) FROM usage_sums_by_day
        WHERE user_id = :user_id AND day >= :first_day AND day < :next_day) AS used_cost,
    (SELECT coalesce(sum(tokens), 0) FROM reservations WHERE user_id = :user_id) AS reserved_tokens,
    (SELECT coalesce(sum(cost), 0) FROM reservations WHERE user_id = :user_id) AS reserved_cost,
    (SELECT count(*) FROM reservations WHERE user_id = :user_id
        AND id NOT IN (SELECT value FROM json_each(:ended))) AS running
FROM limits WHERE limits.user_id = :user_id
UNION ALL
SELECT 'token', token.monthly_limit, token.cost_limit, token.requests_per_minute, token.replies_at_once,
    (SELECT is_active FROM users WHERE id = :user_id),
    coalesce(spent.tokens, 0), coalesce(spent.cost, 0),
    (SELECT coalesce(sum(tokens), 0) FROM reservations WHERE user_id = :user_id AND token_id = :token_id),
    (SELECT coalesce(sum(cost), 0) FROM reservations WHERE user_id = :user_id AND token_id = :token_id),
    (SELECT count(*) FROM reservations WHERE user_id = :user_id AND token_id = :token_id
        AND id NOT IN (SELECT value FROM json_each(:ended)))
FROM personal_tokens AS token LEFT JOIN token_usage AS spent ON spent.token_id = token.id AND month = :month
WHERE token.id = :token_id

-- name: reserve
INSERT INTO reservations (user_id, token_id, message_id, tokens, cost)
VALUES (:user_id, :token_id, :message_id, :tokens, :cost)
RETURNING id

-- name: release
DELETE FROM reservations WHERE id = :reservation_id

-- name: release_all
-- at start: no reply is being generated any more
DELETE FROM reservations

-- name: count_request
-- of a user (:token_id 0), or of an access token
INSERT INTO request_counts (user_id, token_id, minute, requests) VALUES (:user_id, :token_id, :minute, 1)
ON CONFLICT (user_id, token_id) DO UPDATE SET
    requests = CASE WHEN minute = excluded.minute THEN requests + 1 ELSE 1 END, minute = excluded.minute
RETURNING requests
