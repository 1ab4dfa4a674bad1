-- name: count_days
-- the days on which a user used something
SELECT count(DISTINCT day) AS days FROM usage_sums_by_day WHERE user_id = :user_id AND requests > 0

-- name: totals_of_day
SELECT
    coalesce(sum(requests), 0) AS requests,
    coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
    coalesce(sum(completion_tokens), 0) AS completion_tokens,
    coalesce(sum(cached_tokens), 0) AS cached_tokens,
    coalesce(sum(cache_write_tokens), 0) AS cache_write_tokens,
    coalesce(sum(counted_tokens), 0) AS counted_tokens,
    coalesce(sum(cost), 0) AS cost,
    coalesce(sum(savings), 0) AS savings
FROM usage_sums_by_day WHERE user_id = :user_id AND day = :day

-- name: totals_of_months
SELECT
    coalesce(sum(requests), 0) AS requests,
    coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
    coalesce(sum(completion_tokens), 0) AS completion_tokens,
    coalesce(sum(cached_tokens), 0) AS cached_tokens,
    coalesce(sum(cache_write_tokens), 0) AS cache_write_tokens,
    coalesce(sum(counted_tokens), 0) AS counted_tokens,
    coalesce(sum(cost), 0) AS cost,
    coalesce(sum(savings), 0) AS savings
FROM usage_sums_by_month WHERE user_id = :user_id AND month BETWEEN :first AND :last

-- name: by_model
SELECT sum(requests) AS requests, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(cached_tokens) AS cached_tokens,
    sum(cache_write_tokens) AS cache_write_tokens, sum(counted_tokens) AS counted_tokens, sum(cost) AS cost,
    sum(savings) AS savings, model
FROM usage_sums_by_month WHERE user_id = :user_id AND requests > 0 GROUP BY model ORDER BY sum(requests) DESC, model

-- name: sum_by_day
-- sums of a user's ledger entries by day, newest day first
SELECT day AS name, sum(requests) AS requests, sum(attempts) AS attempts, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(reasoning_tokens) AS reasoning_tokens,
    sum(cached_tokens) AS cached_tokens, sum(cache_write_tokens) AS cache_write_tokens,
    sum(counted_tokens) AS counted_tokens, sum(cost) AS cost, sum(savings) AS savings
FROM usage_sums_by_day
WHERE user_id = :user_id AND day BETWEEN :since AND :until AND attempts > 0
    AND (:token_id IS NULL OR token_id = :token_id)
    AND (:model IS NULL OR :model IN (model, requested_model))
    AND (:provider IS NULL OR provider = :provider)
GROUP BY day ORDER BY day DESC

-- name: sum_by_day_of_all
-- the same of all users
SELECT day AS name, sum(requests) AS requests, sum(attempts) AS attempts, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(reasoning_tokens) AS reasoning_tokens,
    sum(cached_tokens) AS cached_tokens, sum(cache_write_tokens) AS cache_write_tokens,
    sum(counted_tokens) AS counted_tokens, sum(cost) AS cost, sum(savings) AS savings
FROM usage_sums_of_all_by_day
WHERE day BETWEEN :since AND :until
    AND (:token_id IS NULL OR token_id = :token_id)
    AND (:model IS NULL OR :model IN (model, requested_model))
    AND (:provider IS NULL OR provider = :provider)
GROUP BY day ORDER BY day DESC

-- name: sum_by
-- the same of the users from :first_user to :last_user by model or user (:group_by), the highest cost first: the
-- whole months between :first_month and :before_month, and the days at both ends. CROSS JOIN keeps SQLite's planner
-- from reading the sums before the users
SELECT CASE WHEN :group_by = 'model' THEN model ELSE username END AS name, sum(requests) AS requests,
    sum(attempts) AS attempts, sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
    sum(reasoning_tokens) AS reasoning_tokens, sum(cached_tokens) AS cached_tokens,
    sum(cache_write_tokens) AS cache_write_tokens, sum(counted_tokens) AS counted_tokens, sum(cost) AS cost,
    sum(savings) AS savings
FROM (
    SELECT username, model, requests, attempts, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens,
        cache_write_tokens, counted_tokens, cost, savings
    FROM users CROSS JOIN usage_sums_by_month
    WHERE user_id = users.id AND users.id BETWEEN :first_user AND :last_user
        AND month >= :first_month AND month < :before_month AND attempts > 0
        AND (:token_id IS NULL OR token_id = :token_id)
        AND (:model IS NULL OR :model IN (model, requested_model))
        AND (:provider IS NULL OR provider = :provider)
    UNION ALL
    SELECT username, model, requests, attempts, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens,
        cache_write_tokens, counted_tokens, cost, savings
    FROM users CROSS JOIN (VALUES (:head, :head_end), (:tail, :tail_end)) AS ends
        CROSS JOIN usage_sums_by_day
    WHERE user_id = users.id AND day BETWEEN column1 AND column2
        AND users.id BETWEEN :first_user AND :last_user AND attempts > 0
        AND (:token_id IS NULL OR token_id = :token_id)
        AND (:model IS NULL OR :model IN (model, requested_model))
        AND (:provider IS NULL OR provider = :provider)
) AS used
GROUP BY 1 ORDER BY sum(cost) DESC, 1

-- name: list_spans
-- for each day the first and the last id of a user's rows in the ledger; the newest day first
SELECT min(first_id) AS first, max(last_id) AS last
FROM usage_sums_by_day
WHERE user_id = :user_id AND day BETWEEN :since AND :until AND attempts > 0 AND first_id < :before
    AND (:token_id IS NULL OR token_id = :token_id)
    AND (:model IS NULL OR :model IN (model, requested_model))
    AND (:provider IS NULL OR provider = :provider)
GROUP BY day ORDER BY max(last_id) DESC

-- name: list_spans_of_all
-- the same of all users
SELECT min(first_id) AS first, max(last_id) AS last
FROM usage_sums_of_all_by_day
WHERE day BETWEEN :since AND :until AND first_id < :before
    AND (:token_id IS NULL OR token_id = :token_id)
    AND (:model IS NULL OR :model IN (model, requested_model))
    AND (:provider IS NULL OR provider = :provider)
GROUP BY day ORDER BY max(last_id) DESC

-- name: get_span_of_provider
-- the first and the last id of a provider's rows in the ledger on some days; 0: there is none
SELECT coalesce(min(first_id), 0) AS first, coalesce(max(last_id), 0) AS last
FROM usage_sums_of_all_by_day WHERE day BETWEEN :since AND :until AND provider = :provider
