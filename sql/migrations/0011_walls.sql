-- What one user, program or provider does must not hurt another.

-- the administrator who vouched for a key's own base URL, which may then lead inside; NULL: nobody did
ALTER TABLE api_keys ADD COLUMN vouched_by INTEGER REFERENCES users (id);
UPDATE api_keys SET vouched_by = user_id
WHERE base_url <> '' AND user_id IN (SELECT id FROM users WHERE role = 'admin');
-- the class of the last failure that says something of the key: invalid_key, no_credit, rate_limited or transient;
-- empty: none. Others than the owner are told of it in our words, never in the provider's
ALTER TABLE api_keys ADD COLUMN failure_class TEXT NOT NULL DEFAULT '';

-- 1: requests may carry fields that choose other models or a dearer service (models, route, provider, plugins,
-- service_tier) although the caller is bound to models or money
ALTER TABLE models ADD COLUMN allow_extras INTEGER NOT NULL DEFAULT 0 CHECK (allow_extras IN (0, 1));

-- 1: the turn was refused, and the message is kept without the images or tools that came with it
ALTER TABLE messages ADD COLUMN is_incomplete INTEGER NOT NULL DEFAULT 0 CHECK (is_incomplete IN (0, 1));

-- when it was deleted: from then on it is in no answer, and its messages are removed in slices; NULL: it is there
ALTER TABLE conversations ADD COLUMN deleted_at INTEGER;
CREATE INDEX conversations_deleted ON conversations (id) WHERE deleted_at IS NOT NULL;
