-- name: get_state
-- what a user may use, what it used from :first_day to before :next_day and what is held for its answers; the same for
-- the personal token it asks with. Those reservations that :ended names (JSON) are of answers that are not being
-- written any more
SELECT most_tokens, most_cost, limits.requests_per_minute, limits.replies_at_once,
    (SELECT is_active FROM users WHERE id = :user_id) AS is_active,
    (SELECT coalesce(sum(prompt_tokens + completion_tokens), 0) FROM usage_sums_by_day
        WHERE user_id = :user_id AND day >= :first_day AND day < :next_day) AS used_tokens,
    (SELECT coalesce(sum(cost), 0) FROM usage_sums_by_day
        WHERE user_id = :user_id AND day >= :first_day AND day < :next_day) AS used_cost,
    coalesce(sum(held.tokens), 0) AS held_tokens,
    coalesce(sum(held.cost), 0) AS held_cost,
    count(held.id) FILTER (WHERE held.id NOT IN (SELECT value FROM json_each(:ended))) AS running,
    token.monthly_limit AS token_most_tokens,
    token.cost_limit AS token_most_cost,
    token.requests_per_minute AS token_requests_per_minute,
    token.replies_at_once AS token_replies_at_once,
    coalesce(spent.tokens, 0) AS token_used_tokens,
    coalesce(spent.cost, 0) AS token_used_cost,
    coalesce(sum(held.tokens) FILTER (WHERE held.token_id = :token_id), 0) AS token_held_tokens,
    coalesce(sum(held.cost) FILTER (WHERE held.token_id = :token_id), 0) AS token_held_cost,
    count(held.id) FILTER (WHERE held.token_id = :token_id
        AND held.id NOT IN (SELECT value FROM json_each(:ended))) AS token_running
FROM limits LEFT JOIN personal_tokens AS token ON token.id = :token_id
    LEFT JOIN token_usage AS spent ON spent.token_id = token.id AND month = :month
    LEFT JOIN reservations AS held ON held.user_id = limits.user_id
WHERE limits.user_id = :user_id
GROUP BY limits.user_id

-- name: reserve
INSERT INTO reservations (user_id, token_id, message_id, tokens, cost)
VALUES (:user_id, :token_id, :message_id, :tokens, :cost)

-- name: release
DELETE FROM reservations WHERE id = :reservation_id

-- name: release_all
-- at start: nothing is being written any more
DELETE FROM reservations

-- name: count_request
-- of a user, or with :token_id of a personal token
INSERT INTO request_counts (user_id, token_id, minute, requests) VALUES (:user_id, :token_id, :minute, 1)
ON CONFLICT (user_id, token_id) DO UPDATE SET
    requests = iif(minute = excluded.minute, requests + 1, 1), minute = excluded.minute
RETURNING requests
