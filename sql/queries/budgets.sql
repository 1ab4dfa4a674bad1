-- name: reserve
INSERT INTO reservations (user_id, token_id, message_id, tokens, cost, kind, provider, model, requested_model,
    key_id, prompt_tokens, at)
VALUES (:user_id, :token_id, :message_id, :tokens, :cost, :kind, :provider, :model, :requested_model,
    :key_id, :prompt_tokens, :at)
RETURNING id

-- name: release
DELETE FROM reservations WHERE id = :reservation_id

-- name: list_left
-- at start: what was running when the last process ended, with the prices of its models
SELECT reservations.id, user_id, token_id, message_id, tokens, kind, reservations.provider, reservations.model,
    requested_model, key_id, prompt_tokens, at, input_price, cached_price, cache_write_price, cache_write_1h_price,
    output_price
FROM reservations LEFT JOIN models ON model_name = reservations.model
ORDER BY reservations.id

-- name: release_all
-- at start, when no reply is being generated
DELETE FROM reservations

-- name: count_request
-- counts a request of a user (:token_id 0) or of an access token in this minute
INSERT INTO request_counts (user_id, token_id, minute, requests) VALUES (:user_id, :token_id, :minute, 1)
ON CONFLICT (user_id, token_id) DO UPDATE SET
    requests = CASE WHEN minute = excluded.minute THEN requests + 1 ELSE 1 END, minute = excluded.minute
RETURNING requests
