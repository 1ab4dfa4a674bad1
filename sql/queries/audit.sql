-- name: add
INSERT INTO audit (at, event, actor_id, actor, target, address, request_id, details)
VALUES (:now, :event, :actor_id, :actor, :target, :address, :request_id, :details)

-- name: page
-- newest first; :first and :last are the bounds of the events that are wanted, :until does not belong to it
SELECT id, at, event, actor_id, actor, target, address, request_id, details
FROM audit
WHERE id < :before
    AND (:first IS NULL OR event BETWEEN :first AND :last)
    AND (:actor_id IS NULL OR actor_id = :actor_id)
    AND (:since IS NULL OR at >= :since)
    AND (:until IS NULL OR at < :until)
ORDER BY id DESC LIMIT :limit
