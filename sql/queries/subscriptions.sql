-- name: list_all
SELECT name, usage_limit, cost_limit, requests_per_minute, replies_at_once FROM subscriptions ORDER BY usage_limit, name

-- name: get
SELECT name, usage_limit, cost_limit, requests_per_minute, replies_at_once FROM subscriptions WHERE name = :name

-- name: update
UPDATE subscriptions SET usage_limit = :usage_limit, cost_limit = :cost_limit,
    requests_per_minute = :requests_per_minute, replies_at_once = :replies_at_once
WHERE name = :name
