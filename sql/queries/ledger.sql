-- name: insert
-- for a user who has left, without the conversation
INSERT INTO ledger (at, day, kind, user_id, token_id, key_id, provider, model, conversation_id, message_id,
    prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, cache_write_1h_tokens,
    counted_tokens, usage_source, input_price, cached_price, cache_write_price, cache_write_1h_price, output_price,
    cost, savings, first_token_ms, duration_ms, end_reason, http_status, requested_model, unit, units, unit_price)
VALUES (:at, :day, :kind, :user_id, :token_id, :key_id, :provider, :model,
    iif(EXISTS (SELECT 1 FROM users WHERE id = :user_id AND left_at IS NOT NULL), NULL, :conversation_id), :message_id,
    :prompt_tokens, :completion_tokens, :reasoning_tokens, :cached_tokens, :cache_write_tokens, :cache_write_1h_tokens,
    :counted_tokens, :usage_source, :input_price, :cached_price, :cache_write_price, :cache_write_1h_price,
    :output_price, :cost, :savings, :first_token_ms, :duration_ms, :end_reason, :http_status,
    :requested_model, :unit, :units, :unit_price)

-- name: list_page
-- a user's entries from id :first to :last, the newest first
SELECT ledger.id, at, day, kind, ledger.user_id, username, token_id, key_id, provider, model, conversation_id,
    message_id, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens,
    cache_write_1h_tokens, counted_tokens, usage_source, input_price,
    coalesce(cached_price, input_price) AS cached_price, coalesce(cache_write_price, input_price) AS cache_write_price,
    coalesce(cache_write_1h_price, input_price) AS cache_write_1h_price, output_price, cost, savings, first_token_ms,
    duration_ms, end_reason, http_status, requested_model, unit, units, unit_price
FROM ledger CROSS JOIN users
WHERE users.id = ledger.user_id AND ledger.user_id = :user_id AND ledger.id BETWEEN :first AND :last
    AND day BETWEEN :since AND :until
    AND (:token_id IS NULL OR token_id = :token_id)
    AND (:model IS NULL OR :model IN (model, requested_model))
    AND (:provider IS NULL OR provider = :provider)
ORDER BY ledger.id DESC LIMIT :limit

-- name: list_page_of_all
-- the same of all users
SELECT ledger.id, at, day, kind, ledger.user_id, username, token_id, key_id, provider, model, conversation_id,
    message_id, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens,
    cache_write_1h_tokens, counted_tokens, usage_source, input_price,
    coalesce(cached_price, input_price) AS cached_price, coalesce(cache_write_price, input_price) AS cache_write_price,
    coalesce(cache_write_1h_price, input_price) AS cache_write_1h_price, output_price, cost, savings, first_token_ms,
    duration_ms, end_reason, http_status, requested_model, unit, units, unit_price
FROM ledger CROSS JOIN users
WHERE users.id = ledger.user_id AND ledger.id BETWEEN :first AND :last
    AND day BETWEEN :since AND :until
    AND (:token_id IS NULL OR token_id = :token_id)
    AND (:model IS NULL OR :model IN (model, requested_model))
    AND (:provider IS NULL OR provider = :provider)
ORDER BY ledger.id DESC LIMIT :limit

-- name: newest_day
SELECT max(day) AS day FROM usage_sums_of_all_by_day

-- name: sum_by_quarter_hour
-- a provider's rows from id :first to :last by quarter of an hour (Unix time in milliseconds / 900,000), API key and
-- model: days of any time zone are made of them
SELECT at / 900000 AS quarter, key_id, model, count(*) AS attempts, sum(usage_source <> '') AS requests,
    sum(usage_source NOT IN ('', 'reported')) AS estimates,
    sum(iif(usage_source IN ('', 'reported'), 0, cost)) AS estimated_cost, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(cached_tokens) AS cached_tokens,
    sum(cache_write_tokens) AS cache_write_tokens, sum(cost) AS cost
FROM ledger
WHERE id BETWEEN :first AND :last AND provider = :provider AND at >= :since AND at < :until
GROUP BY 1, 2, 3
