-- name: list_all
-- the targets of all aliases, as the administrator listed them
SELECT alias_id, target_id, weight, try_order AS "order" FROM model_targets ORDER BY alias_id, position

-- name: list_of_alias
SELECT model_name, weight, try_order AS "order" FROM model_targets JOIN models ON models.id = target_id
WHERE alias_id = :alias_id ORDER BY position

-- name: list_aliases_of
-- the aliases that a model is a target of
SELECT model_name AS name FROM model_targets JOIN models ON models.id = alias_id
WHERE target_id = :target_id ORDER BY alias_id

-- name: insert
INSERT INTO model_targets (alias_id, target_id, position, weight, try_order)
VALUES (:alias_id, :target_id, :position, :weight, :order)

-- name: delete_all
-- the targets of an alias
DELETE FROM model_targets WHERE alias_id = :alias_id
