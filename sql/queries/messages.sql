-- name: insert_question
INSERT INTO messages (conversation_id, parent_id, role, content, created_at, updated_at)
VALUES (:conversation_id, :parent_id, 'user', :content, :now, :now)
RETURNING id

-- name: insert_answer
-- the reply that is about to be written
INSERT INTO messages (conversation_id, parent_id, role, status, reason, model, provider, created_at, updated_at)
VALUES (:conversation_id, :parent_id, 'assistant', :status, :reason, :model, :provider, :now, :now)
RETURNING id

-- name: list_context
-- the branch that ends in :head_id, oldest first, as far back as :characters reach
WITH RECURSIVE branch (id, parent_id, depth, used) AS (
    SELECT id, parent_id, 1, length(content) FROM messages WHERE id = :head_id
    UNION ALL
    SELECT messages.id, messages.parent_id, depth + 1, used + length(messages.content)
    FROM branch JOIN messages ON messages.id = branch.parent_id
    WHERE used < :characters
)
SELECT messages.id, role, content, status FROM branch JOIN messages ON messages.id = branch.id
ORDER BY depth DESC

-- name: list_branch
-- the current branch of a conversation, oldest first
WITH RECURSIVE branch (id, parent_id, depth) AS (
    SELECT messages.id, parent_id, 1
    FROM conversations JOIN messages ON messages.id = head_id WHERE public_id = :public_id
    UNION ALL
    SELECT messages.id, messages.parent_id, depth + 1
    FROM branch JOIN messages ON messages.id = branch.parent_id
)
SELECT messages.id, public_id, role, content, reasoning, status, reason, finish_reason, messages.model, prompt_tokens,
    completion_tokens, reasoning_tokens, cached_tokens, usage_source, cost, messages.created_at
FROM branch JOIN messages ON messages.id = branch.id
    JOIN conversations ON conversations.id = conversation_id
ORDER BY depth DESC

-- name: settle
UPDATE messages SET content = :content, reasoning = :reasoning, status = :status, reason = :reason,
    finish_reason = :finish_reason, prompt_tokens = :prompt_tokens, completion_tokens = :completion_tokens,
    reasoning_tokens = :reasoning_tokens, cached_tokens = :cached_tokens, usage_source = :usage_source,
    cost = :cost, updated_at = :now
WHERE id = :message_id

-- name: interrupt_streaming
-- at start: what was being written when the last process ended
UPDATE messages SET status = 'interrupted', reason = :reason, updated_at = :now WHERE status = 'streaming'

-- name: complete_stopped
-- the page's text of a stopped reply, where it holds more than ours
UPDATE messages SET content = :content, updated_at = :now
WHERE id = :message_id AND status IN ('stopped', 'interrupted')
    AND length(:content) > length(content) AND substr(:content, 1, length(content)) = content
