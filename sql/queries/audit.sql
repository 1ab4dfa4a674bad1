-- name: add
INSERT INTO audit (at, event, actor_id, actor, target, address, request_id, details)
VALUES (:now, :event, :actor_id, :actor, :target, :address, :request_id, :details)
