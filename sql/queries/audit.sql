-- name: add
INSERT INTO audit (at, event, actor_id, actor, target, address, request_id, details)
VALUES (:now, :event, :actor_id, :actor, :target, :address, :request_id, :details)

-- name: page
-- newest first, from before :before on; :until does not belong to it
SELECT id, at, event, actor_id, actor, target, address, request_id, details
FROM audit
WHERE id < :before AND (:since IS NULL OR at >= :since) AND (:until IS NULL OR at < :until)
ORDER BY id DESC LIMIT :limit

-- name: page_of_actor
-- the same of one actor; :first and :last are the bounds of the events that are wanted
SELECT id, at, event, actor_id, actor, target, address, request_id, details
FROM audit
WHERE actor_id = :actor_id AND id < :before
    AND (:first IS NULL OR event BETWEEN :first AND :last)
    AND (:since IS NULL OR at >= :since)
    AND (:until IS NULL OR at < :until)
ORDER BY id DESC LIMIT :limit

-- name: page_of_events
-- the same of all actors: of each event within the bounds by its index, and of these the newest
WITH RECURSIVE kinds (event) AS (
    SELECT min(event) FROM audit WHERE event BETWEEN :first AND :last
    UNION ALL
    SELECT (SELECT min(event) FROM audit WHERE event > kinds.event AND event <= :last) FROM kinds
    WHERE kinds.event IS NOT NULL
)
SELECT id, at, audit.event, actor_id, actor, target, address, request_id, details
FROM kinds CROSS JOIN audit ON id IN (
    SELECT newest.id FROM audit AS newest
    WHERE newest.event = kinds.event AND newest.id < :before
        AND (:since IS NULL OR newest.at >= :since)
        AND (:until IS NULL OR newest.at < :until)
    ORDER BY newest.id DESC LIMIT :limit)
ORDER BY id DESC LIMIT :limit
