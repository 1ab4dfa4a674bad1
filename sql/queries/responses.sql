-- name: insert
INSERT INTO responses
    (public_id, user_id, previous_id, depth, model, status, is_background, created_at, idempotency_key, digest, input)
VALUES (:public_id, :user_id, :previous_id, :depth, :model, 'in_progress', :is_background, :now, :key, :digest, :input)
RETURNING id

-- name: find
SELECT id, public_id, depth, model, status, is_background FROM responses
WHERE public_id = :public_id AND user_id = :user_id AND NOT is_deleted

-- name: find_by_key
SELECT public_id, digest FROM responses
WHERE user_id = :user_id AND idempotency_key = :name AND created_at >= :since

-- name: forget_key
UPDATE responses SET idempotency_key = NULL, digest = NULL WHERE user_id = :user_id AND idempotency_key = :name

-- name: get
SELECT id, public_id, depth, model, status, is_background FROM responses WHERE id = :response_id

-- name: get_input
SELECT input FROM responses WHERE id = :response_id

-- name: list_chain
-- a response and those before it, the first of all at the head
WITH RECURSIVE chain (id) AS (
    SELECT :response_id
    UNION
    SELECT previous_id FROM chain JOIN responses USING (id) WHERE previous_id IS NOT NULL)
SELECT responses.id, input FROM chain JOIN responses USING (id) ORDER BY depth

-- name: insert_events
-- nothing, if the response was deleted meanwhile
INSERT INTO response_events (response_id, first, last, data)
SELECT id, :first, :last, :data FROM responses WHERE id = :response_id

-- name: list_events
SELECT first, last, data FROM response_events
WHERE response_id = :response_id AND last > :after ORDER BY last LIMIT :most

-- name: get_last_events
SELECT first, last, data FROM response_events WHERE response_id = :response_id ORDER BY last DESC LIMIT 1

-- name: find_last
SELECT last FROM response_events WHERE response_id = :response_id ORDER BY last DESC LIMIT 1

-- name: delete_events
DELETE FROM response_events WHERE response_id = :response_id

-- name: update_status
UPDATE responses SET status = :status WHERE id = :response_id

-- name: list_in_progress
SELECT id, public_id, depth, model, status, is_background FROM responses WHERE status = 'in_progress'

-- name: insert_item
INSERT OR IGNORE INTO response_items (user_id, digest, response_id, is_output)
SELECT user_id, :digest, id, :is_output FROM responses WHERE id = :response_id

-- name: list_places
SELECT response_id, is_output, model FROM response_items JOIN responses ON responses.id = response_id
WHERE response_items.user_id = :user_id AND response_items.digest = :digest
ORDER BY response_id DESC, is_output DESC LIMIT :most

-- name: delete_items
DELETE FROM response_items WHERE response_id = :response_id

-- name: hide
-- it is old at once, and goes when nothing continues it any more
UPDATE responses SET is_deleted = 1, created_at = 0, idempotency_key = NULL, digest = NULL WHERE id = :response_id

-- name: delete_unless_continued
DELETE FROM responses WHERE id = :response_id
    AND NOT EXISTS (SELECT 1 FROM responses AS later WHERE later.previous_id = responses.id)

-- name: delete_older
-- at most :most of those that nothing continues
DELETE FROM responses WHERE id IN (
    SELECT id FROM responses AS old WHERE created_at < :before AND status <> 'in_progress'
        AND NOT EXISTS (SELECT 1 FROM responses AS later WHERE later.previous_id = old.id) LIMIT :most)
