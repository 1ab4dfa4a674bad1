-- Times are Unix milliseconds, money is millionths, days are text in the configured zone.

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    username TEXT NOT NULL,
    -- the name and the address as they are compared: without regard to case
    username_key TEXT NOT NULL CONSTRAINT users_username UNIQUE,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL CONSTRAINT users_email UNIQUE,
    -- empty: nobody can sign in with a password
    password_hash TEXT NOT NULL,
    -- 1 while the password is the well-known one of development mode
    password_is_default INTEGER NOT NULL DEFAULT 0 CHECK (password_is_default IN (0, 1)),
    role TEXT NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    subscription_type TEXT NOT NULL DEFAULT 'free'
        CHECK (subscription_type IN ('free', 'pro', 'premium', 'enterprise')),
    -- tokens in a calendar month
    usage_limit INTEGER NOT NULL CHECK (usage_limit >= 0),
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    -- tokens that carry an older version are worthless
    token_version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE revoked_tokens (
    jti TEXT PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires_at);

CREATE TABLE providers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    provider_key TEXT NOT NULL CONSTRAINT providers_key UNIQUE,
    display_name TEXT NOT NULL,
    default_base_url TEXT NOT NULL,
    -- 0: reachable without a key (ollama, the local model)
    needs_key INTEGER NOT NULL DEFAULT 1 CHECK (needs_key IN (0, 1)),
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    sort_order INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE models (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model_name TEXT NOT NULL CONSTRAINT models_name UNIQUE,
    display_name TEXT NOT NULL,
    provider_id INTEGER NOT NULL REFERENCES providers (id),
    model_type TEXT NOT NULL DEFAULT 'chat',
    -- the longest answer, in tokens
    max_tokens INTEGER NOT NULL DEFAULT 4096 CHECK (max_tokens > 0),
    -- prompt and answer together, in tokens; NULL: not known
    context_window INTEGER CHECK (context_window > 0),
    supports_streaming INTEGER NOT NULL DEFAULT 1 CHECK (supports_streaming IN (0, 1)),
    supports_function_calling INTEGER NOT NULL DEFAULT 0 CHECK (supports_function_calling IN (0, 1)),
    supports_vision INTEGER NOT NULL DEFAULT 0 CHECK (supports_vision IN (0, 1)),
    -- millionths per 1,000 tokens
    input_price INTEGER NOT NULL DEFAULT 0 CHECK (input_price >= 0),
    output_price INTEGER NOT NULL DEFAULT 0 CHECK (output_price >= 0),
    description TEXT NOT NULL DEFAULT '',
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    sort_order INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX models_by_provider ON models (provider_id);

CREATE TABLE api_keys (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id INTEGER NOT NULL REFERENCES users (id),
    provider_id INTEGER NOT NULL REFERENCES providers (id),
    -- tells several keys of one owner for one provider apart
    label TEXT NOT NULL DEFAULT '',
    -- AES-GCM; bound to this row, its owner, its provider and its origin
    secret BLOB NOT NULL,
    -- what a listing shows
    mask TEXT NOT NULL,
    -- the key's own base URL; empty: the provider's
    base_url TEXT NOT NULL DEFAULT '',
    -- where the key may be sent: the origin of the effective base URL when it was entered
    origin TEXT NOT NULL,
    is_shared INTEGER NOT NULL DEFAULT 0 CHECK (is_shared IN (0, 1)),
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CONSTRAINT api_keys_label UNIQUE (user_id, provider_id, label)
) STRICT;
CREATE INDEX api_keys_by_provider ON api_keys (provider_id);

CREATE TABLE conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- the id the API shows
    public_id TEXT NOT NULL CONSTRAINT conversations_public_id UNIQUE,
    user_id INTEGER NOT NULL REFERENCES users (id),
    title TEXT NOT NULL,
    model TEXT NOT NULL,
    -- the newest message of the current branch
    head_id INTEGER REFERENCES messages (id) ON DELETE SET NULL,
    message_count INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX conversations_by_user ON conversations (user_id, updated_at DESC, id DESC);
CREATE INDEX conversations_by_head ON conversations (head_id);

-- Messages form a tree: an edited question or another answer is a sibling.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    conversation_id INTEGER NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    -- no cascade: SQLite would recurse once a level and gives up at a thousand
    parent_id INTEGER REFERENCES messages (id),
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'tool')),
    content TEXT NOT NULL DEFAULT '',
    reasoning TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL DEFAULT 'done'
        CHECK (status IN ('streaming', 'done', 'stopped', 'interrupted', 'error')),
    -- why it is not 'done', fit to show
    reason TEXT NOT NULL DEFAULT '',
    finish_reason TEXT NOT NULL DEFAULT '',
    model TEXT NOT NULL DEFAULT '',
    provider TEXT NOT NULL DEFAULT '',
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    -- reported, estimated or mixed; empty: nothing was used
    usage_source TEXT NOT NULL DEFAULT '',
    cost INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_by_conversation ON messages (conversation_id, id);
CREATE INDEX messages_by_parent ON messages (parent_id);
CREATE INDEX messages_streaming ON messages (id) WHERE status = 'streaming';

-- What each user used, counted in the transaction that settles a reply; outlives conversations.
CREATE TABLE usage_by_day (
    user_id INTEGER NOT NULL REFERENCES users (id),
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    requests INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, day, model)
) STRICT, WITHOUT ROWID;
