-- name: insert
-- the name of an actor who has left meanwhile is not stored again
INSERT INTO audit (at, event, actor_id, actor, target, address, request_id, details)
VALUES (:now, :event, :actor_id,
    coalesce((SELECT username FROM users WHERE id = :actor_id AND left_at IS NOT NULL), :actor), :target, :address,
    :request_id, :details)

-- name: list_page
-- the newest first, with ids below :before; from :since until before :until
SELECT id, at, event, actor_id, actor, target, address, request_id, details
FROM audit
WHERE id < :before AND (:since IS NULL OR at >= :since) AND (:until IS NULL OR at < :until)
ORDER BY id DESC LIMIT :limit

-- name: list_page_of_actor
-- the entries of one actor; :first and :last are the bounds of the events
SELECT id, at, event, actor_id, actor, target, address, request_id, details
FROM audit
WHERE actor_id = :actor_id AND id < :before
    AND (:first IS NULL OR event BETWEEN :first AND :last)
    AND (:since IS NULL OR at >= :since)
    AND (:until IS NULL OR at < :until)
ORDER BY id DESC LIMIT :limit

-- name: list_page_of_events
-- the entries of all actors: the newest of each event within the bounds, by the index of events, and of these the
-- newest
WITH RECURSIVE kinds (event) AS (
    SELECT min(event) FROM audit WHERE event BETWEEN :first AND :last
    UNION ALL
    SELECT (SELECT min(event) FROM audit WHERE event > kinds.event AND event <= :last) FROM kinds
    WHERE kinds.event IS NOT NULL
)
SELECT id, at, audit.event, actor_id, actor, target, address, request_id, details
FROM kinds CROSS JOIN audit WHERE id IN (
    SELECT newest.id FROM audit AS newest
    WHERE newest.event = kinds.event AND newest.id < :before
        AND (:since IS NULL OR newest.at >= :since)
        AND (:until IS NULL OR newest.at < :until)
    ORDER BY newest.id DESC LIMIT :limit)
ORDER BY id DESC LIMIT :limit

-- name: find_end
-- the end of the next piece (NULL: there is none)
SELECT max(id) AS id FROM (SELECT id FROM audit WHERE id > :after ORDER BY id LIMIT :most)

-- name: list_about
-- of a piece: what a user did, and what was done to the user
SELECT id, at, event, actor_id, actor, target, address, request_id, details
FROM audit
WHERE id > :after AND id <= :last AND (actor_id = :user_id OR target = 'user ' || :user_id) ORDER BY id
