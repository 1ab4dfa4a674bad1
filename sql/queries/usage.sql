-- name: add
INSERT INTO usage_by_day (user_id, day, model, requests, prompt_tokens, completion_tokens, cost)
VALUES (:user_id, :day, :model, 1, :prompt_tokens, :completion_tokens, :cost)
ON CONFLICT (user_id, day, model) DO UPDATE SET
    requests = requests + 1,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    cost = cost + excluded.cost

-- name: totals
SELECT count(DISTINCT day) AS days,
    coalesce(sum(requests), 0) AS requests,
    coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
    coalesce(sum(completion_tokens), 0) AS completion_tokens,
    coalesce(sum(cost), 0) AS cost
FROM usage_by_day WHERE user_id = :user_id AND day >= :day

-- name: by_model
SELECT model, sum(requests) AS requests, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(cost) AS cost
FROM usage_by_day WHERE user_id = :user_id GROUP BY model ORDER BY sum(requests) DESC, model
