-- name: newest
-- the newest moment that was stored of what people did (milliseconds). Of the audit and the ledger only the last rows
-- are read, of lists the ends of their indexes
SELECT coalesce(max(moment), 0) AS newest
FROM (
    SELECT max(updated_at) AS moment FROM users
    UNION ALL
    SELECT max((SELECT max(updated_at) FROM conversations WHERE user_id = users.id AND deleted_at IS NULL)) FROM users
    UNION ALL
    SELECT max((SELECT max(last_seen_at) FROM sessions WHERE user_id = users.id)) FROM users
    UNION ALL
    SELECT at FROM audit WHERE id = (SELECT max(id) FROM audit)
    UNION ALL
    SELECT at FROM ledger WHERE id = (
        SELECT max(last_id) FROM usage_sums_of_all_by_day WHERE day = (SELECT max(day) FROM usage_sums_of_all_by_day))
) AS moments
