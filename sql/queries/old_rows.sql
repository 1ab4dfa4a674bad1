-- Rows of the audit and the ledger that go to a file, and are deleted.

-- name: list_audit_moments
SELECT id, at FROM audit WHERE id > :after ORDER BY id LIMIT :most

-- name: list_ledger_moments
SELECT id, at FROM ledger WHERE id > :after ORDER BY id LIMIT :most

-- name: list_audit
SELECT id, at, event, actor_id, actor, target, address, request_id, details
FROM audit WHERE id > :after AND id <= :last ORDER BY id LIMIT :most

-- name: list_ledger
SELECT id, at, day, kind, user_id, token_id, key_id, provider, model, requested_model, conversation_id, message_id,
    prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, cache_write_1h_tokens,
    counted_tokens, usage_source, input_price, cached_price, cache_write_price, cache_write_1h_price, output_price,
    unit, units, unit_price, cost, savings, first_token_ms, duration_ms, end_reason, http_status
FROM ledger WHERE id > :after AND id <= :last ORDER BY id LIMIT :most

-- name: mark_exported
INSERT INTO exported_rows (name, last_id) VALUES (:name, :last_id)
ON CONFLICT (name) DO UPDATE SET last_id = max(last_id, excluded.last_id)

-- name: get_exported
SELECT last_id FROM exported_rows WHERE name = :name

-- name: delete_audit
-- some of those that were exported
DELETE FROM audit WHERE id IN (
    SELECT id FROM audit WHERE id <= (SELECT last_id FROM exported_rows WHERE name = 'audit') ORDER BY id LIMIT :most)

-- name: delete_ledger
DELETE FROM ledger WHERE id IN (
    SELECT id FROM ledger WHERE id <= (SELECT last_id FROM exported_rows WHERE name = 'ledger') ORDER BY id LIMIT :most)
