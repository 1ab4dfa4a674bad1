-- name: totals
-- from :first_day to before :next_day
SELECT count(DISTINCT day) AS days,
    coalesce(sum(requests), 0) AS requests,
    coalesce(sum(prompt_tokens), 0) AS prompt_tokens,
    coalesce(sum(completion_tokens), 0) AS completion_tokens,
    coalesce(sum(cost), 0) AS cost
FROM usage_by_day WHERE user_id = :user_id AND day >= :first_day AND day < :next_day

-- name: by_model
SELECT model, sum(requests) AS requests, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(cost) AS cost
FROM usage_by_day WHERE user_id = :user_id GROUP BY model ORDER BY sum(requests) DESC, model
