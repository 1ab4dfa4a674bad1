-- What a database consists of, and how much is in it. SQLite only: another engine has its own catalog.

-- name: list_objects
-- tables, indexes, triggers and views, without SQLite's own
SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\'

-- name: list_tables
SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'

-- name: count_rows
-- of a table, whose quoted name takes the place of the last word
SELECT count(*) AS count FROM sqlite_schema

-- name: newest_ids
SELECT
    (SELECT coalesce(max(id), 0) FROM users) AS users,
    (SELECT coalesce(max(id), 0) FROM conversations) AS conversations,
    (SELECT coalesce(max(id), 0) FROM messages) AS messages,
    (SELECT coalesce(max(id), 0) FROM api_keys) AS api_keys

-- name: count_newer
SELECT
    (SELECT count(*) FROM users WHERE id > :users) AS users,
    (SELECT count(*) FROM conversations WHERE id > :conversations) AS conversations,
    (SELECT count(*) FROM messages WHERE id > :messages) AS messages,
    (SELECT count(*) FROM api_keys WHERE id > :api_keys) AS api_keys
