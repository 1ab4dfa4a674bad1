-- name: newest
-- the newest stamp of what users did (milliseconds); of the audit and the ledger only the ends are read, of lists the
-- indexes
SELECT max(
    coalesce((SELECT max(updated_at) FROM users), 0),
    coalesce((SELECT max((
        SELECT max(updated_at) FROM conversations WHERE user_id = users.id AND deleted_at IS NULL)) FROM users), 0),
    coalesce((SELECT max((SELECT max(last_seen_at) FROM sessions WHERE user_id = users.id)) FROM users), 0),
    coalesce((SELECT at FROM audit WHERE id = (SELECT max(id) FROM audit)), 0),
    coalesce((SELECT at FROM ledger WHERE id = (
        SELECT max(last_id) FROM usage_sums_of_all_by_day WHERE day = (SELECT max(day) FROM usage_sums_of_all_by_day))), 0)) AS newest
