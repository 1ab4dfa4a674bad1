-- name: list_limits
-- a user's limits, its usage from :first_day to the day before :next_day, and its reservations; then the same for the
-- access token of the request, if there is one. :ended is a JSON list (the engines have no common form for lists) of
-- reservations whose replies have ended
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
-- at start, when no reply is being generated
DELETE FROM reservations

-- name: count_request
-- counts a request of a user (:token_id 0) or of an access token in this minute
INSERT INTO request_counts (user_id, token_id, minute, requests) VALUES (:user_id, :token_id, :minute, 1)
ON CONFLICT (user_id, token_id) DO UPDATE SET
    requests = CASE WHEN minute = excluded.minute THEN requests + 1 ELSE 1 END, minute = excluded.minute
RETURNING requests
