-- name: insert_prompt
INSERT INTO messages (conversation_id, parent_id, role, content, options, is_incomplete, created_at, updated_at)
VALUES (:conversation_id, :parent_id, 'user', :content, :options, :is_incomplete, :now, :now)
RETURNING id

-- name: insert_reply
-- the reply before it is generated
INSERT INTO messages (conversation_id, parent_id, role, status, reason_json, error_status, retry_after,
    finish_reason, asked_model, model, provider, created_at, updated_at)
VALUES (:conversation_id, :parent_id, 'assistant', :status, :reason_json, :error_status, :retry_after,
    :finish_reason, :asked_model, :model, :provider, :now, :now)
RETURNING id

-- name: insert_tool_result
INSERT INTO messages (conversation_id, parent_id, role, content, tool_call_id, options, is_incomplete, created_at,
    updated_at)
VALUES (:conversation_id, :parent_id, 'tool', :content, :tool_call_id, :options, :is_incomplete, :now, :now)
RETURNING id

-- name: get_reply_with_calls
-- a reply that a turn may continue from, with its tool calls
SELECT id, content, status, tool_calls, state FROM messages WHERE id = :message_id AND role = 'assistant'

-- name: get_previous_reply
-- the reply whose tool results the given reply continued from
WITH RECURSIVE ancestors (id, parent_id, role) AS (
    SELECT parent.id, parent.parent_id, parent.role
    FROM messages AS reply JOIN messages AS parent ON parent.id = reply.parent_id
    WHERE reply.id = :message_id AND parent.role = 'tool'
    UNION ALL
    SELECT messages.id, messages.parent_id, messages.role
    FROM ancestors JOIN messages ON messages.id = ancestors.parent_id WHERE ancestors.role = 'tool'
)
SELECT messages.id, content, status, tool_calls, state
FROM ancestors JOIN messages ON messages.id = ancestors.id WHERE ancestors.role = 'assistant'

-- name: get_place
SELECT id, conversation_id, parent_id, role FROM messages WHERE id = :message_id

-- name: get_own
-- a user's message with its conversation
SELECT messages.id, public_id, parent_id
FROM messages JOIN conversations ON conversations.id = conversation_id
WHERE messages.id = :message_id AND user_id = :user_id AND deleted_at IS NULL

-- name: get_prompt
-- the prompt that a message is or replies to, and the model that was requested for the reply: for this one, or for the
-- newest
SELECT prompt.id, named.role AS named_role, public_id, prompt.role, prompt.content,
    prompt.options, prompt.tool_call_id, prompt.is_incomplete,
    coalesce(nullif(named.asked_model, ''), (
        SELECT reply.asked_model FROM messages AS reply WHERE reply.parent_id = prompt.id AND reply.role = 'assistant'
        ORDER BY reply.id DESC LIMIT 1), conversations.model) AS requested_model
FROM messages AS named
    JOIN messages AS prompt
        ON prompt.id = CASE named.role WHEN 'assistant' THEN named.parent_id ELSE named.id END
    JOIN conversations ON conversations.id = named.conversation_id
WHERE named.id = :message_id AND user_id = :user_id AND deleted_at IS NULL

-- name: get_reply
-- a user's reply, with everything that its stream contained
SELECT messages.id, conversation_id, public_id, title, parent_id, content, reasoning, status, reason, reason_json,
    finish_reason, error_status, retry_after, tool_calls, asked_model AS requested_model, messages.model, prompt_tokens,
    completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, usage_source, cost, sources,
    (SELECT json_group_array(json_object('file_id', file_id, 'url', url, 'media_type', media_type, 'name', name,
        'transcript', transcript, 'size', size, 'text_before', text_before)) FROM (
        SELECT file_id, url, message_attachments.media_type, name, transcript, length(data) AS size, text_before
        FROM message_attachments LEFT JOIN files ON files.id = file_id
        WHERE message_id = messages.id ORDER BY position)) AS attachments
FROM messages JOIN conversations ON conversations.id = conversation_id
WHERE messages.id = :message_id AND user_id = :user_id AND role = 'assistant' AND deleted_at IS NULL

-- name: get_text
-- a part of a reply's text or of its reasoning
SELECT substr(CASE :kind WHEN 'content' THEN content ELSE reasoning END, :start + 1, :length) AS text
FROM messages WHERE id = :message_id

-- name: list_context
-- the branch that ends in :head_id, oldest first, back to at most :characters characters
WITH RECURSIVE branch (id, parent_id, depth, used) AS (
    SELECT id, parent_id, 1, length(content) FROM messages WHERE id = :head_id
    UNION ALL
    SELECT messages.id, messages.parent_id, depth + 1, used + length(messages.content)
    FROM branch JOIN messages ON messages.id = branch.parent_id
    WHERE used < :characters
)
SELECT messages.id, role, content, status, tool_calls, tool_call_id, state,
    (SELECT count(*) FROM message_images WHERE message_id = messages.id) AS image_count,
    (SELECT json_group_array(json_object('media_type', media_type, 'transcript', transcript, 'stored', stored))
        FROM (SELECT media_type, transcript, file_id IS NOT NULL AS stored FROM message_attachments
        WHERE message_id = messages.id ORDER BY position)) AS attachments, messages.parent_id
FROM branch JOIN messages ON messages.id = branch.id
ORDER BY depth DESC

-- name: list_branch_ids
-- a branch from its newest message upwards, at most :limit messages
WITH RECURSIVE branch (id, parent_id) AS (
    SELECT id, parent_id FROM messages WHERE id = :newest_id
    UNION ALL
    SELECT messages.id, messages.parent_id FROM branch JOIN messages ON messages.id = branch.parent_id
    LIMIT :limit
)
SELECT id FROM branch

-- name: get_shown
-- a message with its siblings
SELECT messages.id, public_id, messages.parent_id, role, content, reasoning, status, reason, reason_json,
    finish_reason, messages.model, prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens,
    usage_source, cost, tool_calls, tool_call_id, is_incomplete, messages.created_at, sources,
    (SELECT json_group_array(json_object('file_id', file_id, 'url', url, 'media_type', media_type, 'name', name,
        'transcript', transcript, 'size', size, 'text_before', text_before)) FROM (
        SELECT file_id, url, message_attachments.media_type, name, transcript, length(data) AS size, text_before
        FROM message_attachments LEFT JOIN files ON files.id = file_id
        WHERE message_id = messages.id ORDER BY position)) AS attachments,
    (SELECT json_group_array(json_object('file_id', file_id, 'url', url, 'media_type', media_type, 'at', at)) FROM (
        SELECT file_id, url, media_type, at FROM message_images LEFT JOIN files ON files.id = file_id
        WHERE message_id = messages.id ORDER BY position)) AS images,
    CASE WHEN messages.parent_id IS NULL THEN (SELECT json_group_array(id) FROM (
        SELECT siblings.id FROM messages AS siblings
        WHERE siblings.conversation_id = messages.conversation_id AND siblings.parent_id IS NULL
        ORDER BY siblings.id))
    ELSE (SELECT json_group_array(id) FROM (
        SELECT siblings.id FROM messages AS siblings WHERE siblings.parent_id = messages.parent_id
        ORDER BY siblings.id)) END AS sibling_ids
FROM messages JOIN conversations ON conversations.id = messages.conversation_id
WHERE messages.id = :message_id AND deleted_at IS NULL

-- name: find_newest_leaf
-- from a message downwards by the newest child to the end of the branch
WITH RECURSIVE descendants (id) AS (
    SELECT :message_id
    UNION ALL
    SELECT (SELECT max(id) FROM messages WHERE parent_id = descendants.id)
    FROM descendants WHERE descendants.id IS NOT NULL
)
SELECT max(id) AS id FROM descendants

-- name: find_newest_sibling
-- the newest sibling of a message
SELECT CASE WHEN messages.parent_id IS NULL THEN (
        SELECT max(siblings.id) FROM messages AS siblings
        WHERE siblings.conversation_id = messages.conversation_id AND siblings.parent_id IS NULL
            AND siblings.id <> messages.id)
    ELSE (
        SELECT max(siblings.id) FROM messages AS siblings
        WHERE siblings.parent_id = messages.parent_id AND siblings.id <> messages.id) END AS id
FROM messages WHERE messages.id = :message_id

-- name: count_subtree
-- the number of messages in the subtree of a message, and whether :other_id is one of them
WITH RECURSIVE subtree (id) AS (
    SELECT :message_id
    UNION ALL
    SELECT messages.id FROM subtree JOIN messages ON messages.parent_id = subtree.id
)
SELECT count(*) AS count, max(CASE WHEN id = :other_id THEN 1 ELSE 0 END) AS contains_other FROM subtree

-- name: is_detached
-- whether a message is below one that was deleted and is not removed yet
WITH RECURSIVE ancestors (parent_id, conversation_id) AS (
    SELECT parent_id, conversation_id FROM messages
    WHERE id = :message_id AND EXISTS (SELECT 1 FROM conversations WHERE deleted_at IS NOT NULL)
    UNION ALL
    SELECT messages.parent_id, messages.conversation_id
    FROM ancestors JOIN messages ON messages.id = ancestors.parent_id
)
SELECT 1 AS found FROM ancestors JOIN conversations ON conversations.id = conversation_id WHERE deleted_at IS NOT NULL

-- name: detach
-- make a message the root of another conversation
UPDATE messages SET conversation_id = :conversation_id, parent_id = NULL WHERE id = :message_id

-- name: move_children
-- moves the children of a message to its conversation, if they are not there
UPDATE messages SET conversation_id = :conversation_id
WHERE parent_id = :message_id AND conversation_id <> :conversation_id

-- name: delete
DELETE FROM messages WHERE id = :message_id

-- name: settle
UPDATE messages SET model = :model, provider = :provider, content = :content, reasoning = :reasoning,
    tool_calls = :tool_calls, state = :state, sources = :sources, status = :status,
    reason_json = :reason_json, finish_reason = :finish_reason,
    error_status = :error_status, retry_after = :retry_after, prompt_tokens = :prompt_tokens,
    completion_tokens = :completion_tokens,
    reasoning_tokens = :reasoning_tokens, cached_tokens = :cached_tokens, cache_write_tokens = :cache_write_tokens,
    usage_source = :usage_source, cost = :cost,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :message_id

-- name: set_model
-- the model that has begun to reply, and the estimate of its prompt: for the cost of a reply that a crash interrupts
UPDATE messages SET model = :model, provider = :provider, prompt_tokens = :prompt_tokens WHERE id = :message_id

-- name: list_streaming
-- at start: the replies that were running when the last process ended
SELECT messages.id, conversation_id, public_id, conversations.user_id, token_id, asked_model AS requested_model,
    messages.model, messages.provider, messages.prompt_tokens, messages.updated_at
FROM messages JOIN conversations ON conversations.id = conversation_id
    LEFT JOIN reservations ON message_id = messages.id
WHERE status = 'streaming' AND deleted_at IS NULL

-- name: complete_stopped
-- the client's text of a stopped reply, if it is longer than the stored one
UPDATE messages SET content = :content, updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :message_id AND status IN ('stopped', 'interrupted')
    AND length(:content) > length(content) AND substr(:content, 1, length(content)) = content
