-- Every provider's dialect, pools of keys, pictures and tools, and tokens for programs.

ALTER TABLE providers ADD COLUMN protocol TEXT NOT NULL DEFAULT 'openai'
    CHECK (protocol IN ('openai', 'anthropic', 'gemini'));
UPDATE providers SET protocol = 'anthropic' WHERE default_base_url LIKE 'https://api.anthropic.com/%';
UPDATE providers SET protocol = 'gemini'
WHERE default_base_url LIKE 'https://generativelanguage.googleapis.com/%'
    AND default_base_url NOT LIKE '%/openai%';

-- the name of the model to turn to when this one cannot be reached; empty: none
ALTER TABLE models ADD COLUMN fallback_model TEXT NOT NULL DEFAULT '';

-- Higher priority first; among equals by chance, in proportion to their weight.
ALTER TABLE api_keys ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN weight INTEGER NOT NULL DEFAULT 1 CHECK (weight > 0);
-- broken: until someone acts; cooling: until cooldown_until
ALTER TABLE api_keys ADD COLUMN health TEXT NOT NULL DEFAULT 'ok' CHECK (health IN ('ok', 'cooling', 'broken'));
ALTER TABLE api_keys ADD COLUMN cooldown_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN last_error TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN failures_in_row INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN success_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN failure_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER NOT NULL DEFAULT 0;

-- JSON: the calls of an answer; which call a tool's message answers; what the dialect wants back
ALTER TABLE messages ADD COLUMN tool_calls TEXT NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN tool_call_id TEXT NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN state TEXT NOT NULL DEFAULT '';

-- Pictures, once for each owner and content.
CREATE TABLE files (
    id TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id),
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    data BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT files_digest UNIQUE (user_id, digest)
) STRICT;

CREATE TABLE message_images (
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    -- one of the two: a stored picture, or an address that the provider fetches
    file_id TEXT REFERENCES files (id),
    url TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (message_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_images_by_file ON message_images (file_id);

-- What programs sign in with; only a hash is kept.
CREATE TABLE personal_tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    digest TEXT NOT NULL CONSTRAINT personal_tokens_digest UNIQUE,
    hint TEXT NOT NULL,
    -- of its user when it was made: what ends the user's logins ends it too
    token_version INTEGER NOT NULL,
    -- 1: opens /api as well as /v1
    opens_api INTEGER NOT NULL DEFAULT 0 CHECK (opens_api IN (0, 1)),
    -- JSON lists; empty: any
    allowed_models TEXT NOT NULL DEFAULT '[]',
    allowed_networks TEXT NOT NULL DEFAULT '[]',
    -- tokens in a calendar month; NULL: no limit but the user's
    monthly_limit INTEGER CHECK (monthly_limit >= 0),
    expires_at INTEGER,
    last_used_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX personal_tokens_by_user ON personal_tokens (user_id);

CREATE TABLE token_usage (
    token_id INTEGER NOT NULL REFERENCES personal_tokens (id) ON DELETE CASCADE,
    month TEXT NOT NULL,
    tokens INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (token_id, month)
) STRICT, WITHOUT ROWID;
