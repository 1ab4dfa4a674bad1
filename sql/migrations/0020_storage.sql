-- What each user stores, in bytes, and the limit of it; NULL: no limit, or that of the subscription.

ALTER TABLE subscriptions ADD COLUMN storage_limit INTEGER CHECK (storage_limit >= 0);
UPDATE subscriptions SET storage_limit = 1073741824 *
    CASE name WHEN 'free' THEN 2 WHEN 'pro' THEN 10 WHEN 'premium' THEN 20 WHEN 'enterprise' THEN 100 END;
ALTER TABLE users ADD COLUMN storage_limit INTEGER CHECK (storage_limit >= 0);
-- what the triggers below count: messages, titles, images and attachments; a file of several messages once
ALTER TABLE users ADD COLUMN storage_used INTEGER NOT NULL DEFAULT 0;

DROP VIEW limits;
-- What holds for a user. Administrators have no limits but their own; ``usage_limit`` is what is shown.
CREATE VIEW limits AS
SELECT users.id AS user_id,
    coalesce(users.usage_limit, subscriptions.usage_limit) AS usage_limit,
    coalesce(users.usage_limit, iif(role = 'admin', NULL, subscriptions.usage_limit)) AS most_tokens,
    coalesce(users.cost_limit, iif(role = 'admin', NULL, subscriptions.cost_limit)) AS most_cost,
    coalesce(users.requests_per_minute, iif(role = 'admin', NULL, subscriptions.requests_per_minute))
        AS requests_per_minute,
    coalesce(users.replies_at_once, iif(role = 'admin', NULL, subscriptions.replies_at_once)) AS replies_at_once,
    coalesce(users.storage_limit, iif(role = 'admin', NULL, subscriptions.storage_limit)) AS storage_limit,
    storage_used
FROM users JOIN subscriptions ON subscriptions.name = subscription_type;

-- What counts of a row, in one place for the triggers and the sum below. Text counts with its bytes, which is not what
-- length() of a text is. The text of a reply that is being generated counts from its end on.
ALTER TABLE messages ADD COLUMN bytes INTEGER GENERATED ALWAYS AS (
    length(CAST(content AS BLOB)) + length(CAST(reasoning AS BLOB)) + length(CAST(tool_calls AS BLOB))
    + length(CAST(tool_call_id AS BLOB)) + length(CAST(state AS BLOB)) + length(CAST(sources AS BLOB))
    + length(CAST(options AS BLOB))) VIRTUAL;
ALTER TABLE message_images ADD COLUMN bytes INTEGER GENERATED ALWAYS AS (length(CAST(url AS BLOB))) VIRTUAL;
ALTER TABLE message_attachments ADD COLUMN bytes INTEGER GENERATED ALWAYS AS (
    length(CAST(url AS BLOB)) + length(CAST(name AS BLOB)) + length(CAST(transcript AS BLOB))) VIRTUAL;
ALTER TABLE conversations ADD COLUMN bytes INTEGER GENERATED ALWAYS AS (length(CAST(title AS BLOB))) VIRTUAL;
ALTER TABLE files ADD COLUMN bytes INTEGER GENERATED ALWAYS AS (length(data)) VIRTUAL;

UPDATE users SET storage_used = sums.bytes
FROM (
    SELECT user_id, sum(bytes) AS bytes FROM (
        SELECT user_id, bytes FROM files
        UNION ALL
        SELECT user_id, bytes FROM conversations
        UNION ALL
        SELECT user_id, messages.bytes FROM messages JOIN conversations ON conversations.id = conversation_id
        UNION ALL
        SELECT user_id, message_images.bytes FROM message_images
            JOIN messages ON messages.id = message_id JOIN conversations ON conversations.id = conversation_id
        UNION ALL
        SELECT user_id, message_attachments.bytes FROM message_attachments
            JOIN messages ON messages.id = message_id JOIN conversations ON conversations.id = conversation_id)
    GROUP BY user_id) AS sums
WHERE users.id = sums.user_id;

CREATE TRIGGER conversation_takes_storage AFTER INSERT ON conversations
BEGIN
    UPDATE users SET storage_used = storage_used + new.bytes WHERE id = new.user_id;
END;
CREATE TRIGGER title_changes_storage AFTER UPDATE OF title ON conversations
BEGIN
    UPDATE users SET storage_used = storage_used + new.bytes - old.bytes WHERE id = new.user_id;
END;
CREATE TRIGGER conversation_frees_storage AFTER DELETE ON conversations
BEGIN
    UPDATE users SET storage_used = storage_used - old.bytes WHERE id = old.user_id;
END;

CREATE TRIGGER message_takes_storage AFTER INSERT ON messages WHEN new.bytes > 0
BEGIN
    UPDATE users SET storage_used = storage_used + new.bytes
    WHERE id = (SELECT user_id FROM conversations WHERE id = new.conversation_id);
END;
CREATE TRIGGER message_changes_storage
AFTER UPDATE OF content, reasoning, tool_calls, tool_call_id, state, sources, options ON messages
WHEN new.bytes <> old.bytes
BEGIN
    UPDATE users SET storage_used = storage_used + new.bytes - old.bytes
    WHERE id = (SELECT user_id FROM conversations WHERE id = new.conversation_id);
END;
-- before, and not after: what belongs to the message goes first, and its triggers could not find the user any more
CREATE TRIGGER message_frees_storage BEFORE DELETE ON messages
BEGIN
    UPDATE users SET storage_used = storage_used - old.bytes
        - (SELECT coalesce(sum(bytes), 0) FROM message_images WHERE message_id = old.id)
        - (SELECT coalesce(sum(bytes), 0) FROM message_attachments WHERE message_id = old.id)
    WHERE id = (SELECT user_id FROM conversations WHERE id = old.conversation_id);
END;

CREATE TRIGGER image_takes_storage AFTER INSERT ON message_images WHEN new.bytes > 0
BEGIN
    UPDATE users SET storage_used = storage_used + new.bytes
    WHERE id = (SELECT user_id FROM messages JOIN conversations ON conversations.id = conversation_id
        WHERE messages.id = new.message_id);
END;
CREATE TRIGGER attachment_takes_storage AFTER INSERT ON message_attachments WHEN new.bytes > 0
BEGIN
    UPDATE users SET storage_used = storage_used + new.bytes
    WHERE id = (SELECT user_id FROM messages JOIN conversations ON conversations.id = conversation_id
        WHERE messages.id = new.message_id);
END;

CREATE TRIGGER file_takes_storage AFTER INSERT ON files
BEGIN
    UPDATE users SET storage_used = storage_used + new.bytes WHERE id = new.user_id;
END;
CREATE TRIGGER file_frees_storage AFTER DELETE ON files
BEGIN
    UPDATE users SET storage_used = storage_used - old.bytes WHERE id = old.user_id;
END;
