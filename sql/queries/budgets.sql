-- name: reserve
INSERT INTO reservations (user_id, token_id, message_id, tokens, cost, kind, provider, model, requested_model,
    key_id, prompt_tokens, at, unit, units)
VALUES (:user_id, :token_id, :message_id, :tokens, :cost, :kind, :provider, :model, :requested_model,
    :key_id, :prompt_tokens, :at, :unit, :units)
RETURNING id

-- name: release
DELETE FROM reservations WHERE id = :reservation_id

-- name: list_left
-- at start: what was running when the last process ended
SELECT id, user_id, token_id, message_id, tokens, kind, provider, model, requested_model, key_id, prompt_tokens, at,
    unit, units
FROM reservations ORDER BY id

-- name: release_all
-- at start, when no reply is being generated
DELETE FROM reservations

-- name: count_request
-- counts a request of a user (:token_id 0) or of an access token in this minute
INSERT INTO request_counts (user_id, token_id, minute, requests) VALUES (:user_id, :token_id, :minute, 1)
ON CONFLICT (user_id, token_id) DO UPDATE SET
    requests = CASE WHEN minute = excluded.minute THEN requests + 1 ELSE 1 END, minute = excluded.minute
RETURNING requests
