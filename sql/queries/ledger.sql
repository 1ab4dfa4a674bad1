-- name: add
INSERT INTO ledger (at, day, kind, user_id, token_id, key_id, provider, model, conversation_id, message_id,
    prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, usage_source, input_price, output_price, cost,
    first_token_ms, duration_ms, end_reason, http_status)
VALUES (:at, :day, :kind, :user_id, :token_id, :key_id, :provider, :model, :conversation_id, :message_id,
    :prompt_tokens, :completion_tokens, :reasoning_tokens, :cached_tokens, :usage_source, :input_price, :output_price,
    :cost, :first_token_ms, :duration_ms, :end_reason, :http_status)

-- name: list_page
-- newest first, from before :before on
SELECT ledger.id, at, day, kind, ledger.user_id, username, token_id, key_id, provider, model, conversation_id,
    message_id, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, usage_source, input_price,
    output_price, cost, first_token_ms, duration_ms, end_reason, http_status
FROM ledger JOIN users ON users.id = ledger.user_id
WHERE (:before IS NULL OR ledger.id < :before)
    AND (:user_id IS NULL OR ledger.user_id = :user_id)
    AND (:token_id IS NULL OR token_id = :token_id)
    AND (:model IS NULL OR model = :model)
    AND (:provider IS NULL OR provider = :provider)
    AND (:since IS NULL OR day >= :since)
    AND (:until IS NULL OR day <= :until)
ORDER BY ledger.id DESC LIMIT :limit

-- name: sum_by
-- by day, model or user (:group_by); attempts that cost nothing count as attempts only
SELECT CASE :group_by WHEN 'day' THEN day WHEN 'model' THEN model ELSE username END AS name,
    sum(usage_source <> '') AS requests, count(*) AS attempts, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(reasoning_tokens) AS reasoning_tokens,
    sum(cached_tokens) AS cached_tokens, sum(cost) AS cost
FROM ledger JOIN users ON users.id = ledger.user_id
WHERE (:user_id IS NULL OR ledger.user_id = :user_id)
    AND (:token_id IS NULL OR token_id = :token_id)
    AND (:model IS NULL OR model = :model)
    AND (:provider IS NULL OR provider = :provider)
    AND (:since IS NULL OR day >= :since)
    AND (:until IS NULL OR day <= :until)
GROUP BY 1
ORDER BY iif(:group_by = 'day', day, NULL) DESC, sum(cost) DESC, 1

-- name: newest_day
SELECT max(day) AS day FROM ledger
