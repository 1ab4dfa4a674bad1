-- foreign_keys: off
-- Lists that grow are no longer spelled out in a CHECK: wire formats are named by the code, subscriptions by their
-- table, kinds of attempts by the code that makes them. Four tables are made anew; every row keeps its id and its values.
-- What decides over rights or is a state of the code's own (role, status, health) keeps its list.

CREATE TABLE providers_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    provider_key TEXT NOT NULL CONSTRAINT providers_key UNIQUE,
    display_name TEXT NOT NULL,
    default_base_url TEXT NOT NULL,
    -- 0: reachable without a key (ollama, the local model)
    needs_key INTEGER NOT NULL DEFAULT 1 CHECK (needs_key IN (0, 1)),
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    sort_order INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- the name of a wire format
    protocol TEXT NOT NULL DEFAULT 'openai' CHECK (protocol <> '')
) STRICT;
INSERT INTO providers_new (id, provider_key, display_name, default_base_url, needs_key, is_active, sort_order, created_at,
    updated_at, protocol)
SELECT id, provider_key, display_name, default_base_url, needs_key, is_active, sort_order, created_at, updated_at, protocol
FROM providers;

CREATE TABLE users_new (
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
    subscription_type TEXT NOT NULL DEFAULT 'free' REFERENCES subscriptions (name),
    is_active INTEGER NOT NULL DEFAULT 1 CHECK (is_active IN (0, 1)),
    -- tokens that carry an older version are worthless
    token_version INTEGER NOT NULL DEFAULT 1,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- the user's own limits, two of them in a calendar month: tokens, and millionths; NULL: the subscription's
    usage_limit INTEGER CHECK (usage_limit >= 0),
    cost_limit INTEGER CHECK (cost_limit >= 0),
    requests_per_minute INTEGER CHECK (requests_per_minute > 0),
    replies_at_once INTEGER CHECK (replies_at_once > 0)
) STRICT;
INSERT INTO users_new (id, username, username_key, email, email_key, password_hash, password_is_default, role,
    subscription_type, is_active, token_version, created_at, updated_at, usage_limit, cost_limit, requests_per_minute,
    replies_at_once)
SELECT id, username, username_key, email, email_key, password_hash, password_is_default, role,
    subscription_type, is_active, token_version, created_at, updated_at, usage_limit, cost_limit, requests_per_minute,
    replies_at_once
FROM users;

-- Invitations to register; of the code only a hash is kept.
CREATE TABLE invites_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL CONSTRAINT invites_digest UNIQUE,
    hint TEXT NOT NULL,
    note TEXT NOT NULL,
    -- of the accounts that are made with it
    subscription_type TEXT NOT NULL REFERENCES subscriptions (name),
    max_uses INTEGER NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND max_uses),
    created_by INTEGER NOT NULL REFERENCES users (id),
    expires_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
INSERT INTO invites_new (id, digest, hint, note, subscription_type, max_uses, uses, created_by, expires_at, created_at)
SELECT id, digest, hint, note, subscription_type, max_uses, uses, created_by, expires_at, created_at FROM invites;

-- One row for every attempt at a provider; only ever added to. Outlives what it names.
CREATE TABLE ledger_new (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    day TEXT NOT NULL,
    -- what the attempt was for, such as chat, title, completion, embedding or probe
    kind TEXT NOT NULL CHECK (kind <> ''),
    user_id INTEGER NOT NULL,
    token_id INTEGER,
    key_id INTEGER,
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    -- the conversation's public id
    conversation_id TEXT,
    message_id INTEGER,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    -- reported, estimated or mixed; empty: nothing was used
    usage_source TEXT NOT NULL DEFAULT '',
    -- the prices that counted, in millionths per 1,000 tokens
    input_price INTEGER NOT NULL,
    output_price INTEGER NOT NULL,
    cost INTEGER NOT NULL DEFAULT 0,
    -- milliseconds; NULL: nothing came
    first_token_ms INTEGER,
    duration_ms INTEGER NOT NULL,
    end_reason TEXT NOT NULL,
    -- of the provider's answer; 0: there was none
    http_status INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO ledger_new (id, at, day, kind, user_id, token_id, key_id, provider, model, conversation_id, message_id,
    prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, usage_source, input_price, output_price, cost,
    first_token_ms, duration_ms, end_reason, http_status)
SELECT id, at, day, kind, user_id, token_id, key_id, provider, model, conversation_id, message_id,
    prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, usage_source, input_price, output_price, cost,
    first_token_ms, duration_ms, end_reason, http_status
FROM ledger;

-- The ids go on where they were: one whose row is gone is not given again.
DELETE FROM sqlite_sequence WHERE name IN ('providers_new', 'users_new', 'invites_new', 'ledger_new');
UPDATE sqlite_sequence SET name = name || '_new' WHERE name IN ('providers', 'users', 'invites', 'ledger');

DROP TABLE providers;
ALTER TABLE providers_new RENAME TO providers;
DROP TABLE users;
ALTER TABLE users_new RENAME TO users;
DROP TABLE invites;
ALTER TABLE invites_new RENAME TO invites;
DROP TABLE ledger;
ALTER TABLE ledger_new RENAME TO ledger;

-- The index and the triggers of the ledger went with the old table.
CREATE INDEX ledger_by_user ON ledger (user_id, id);
CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger
BEGIN
    SELECT raise(ABORT, 'the ledger is only ever added to');
END;
CREATE TRIGGER ledger_is_not_deleted BEFORE DELETE ON ledger
BEGIN
    SELECT raise(ABORT, 'the ledger is only ever added to');
END;
CREATE TRIGGER ledger_is_not_replaced BEFORE INSERT ON ledger
WHEN EXISTS (SELECT 1 FROM ledger WHERE id = new.id)
BEGIN
    SELECT raise(ABORT, 'the ledger is only ever added to');
END;

-- The sums are the ledger's: nothing else writes them.
CREATE TRIGGER ledger_counts_for_its_user AFTER INSERT ON ledger
BEGIN
    INSERT INTO usage_sums_by_day (user_id, day, model, provider, token_id, attempts, requests, prompt_tokens,
        completion_tokens, reasoning_tokens, cached_tokens, cost, first_id, last_id)
    VALUES (new.user_id, new.day, new.model, new.provider, coalesce(new.token_id, 0), 1, new.usage_source <> '',
        new.prompt_tokens, new.completion_tokens, new.reasoning_tokens, new.cached_tokens, new.cost, new.id, new.id)
    ON CONFLICT DO UPDATE SET
        attempts = attempts + 1,
        requests = requests + excluded.requests,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        cached_tokens = cached_tokens + excluded.cached_tokens,
        cost = cost + excluded.cost,
        first_id = min(first_id, excluded.first_id),
        last_id = max(last_id, excluded.last_id);
    INSERT INTO usage_sums_by_month (user_id, month, model, provider, token_id, attempts, requests, prompt_tokens,
        completion_tokens, reasoning_tokens, cached_tokens, cost)
    VALUES (new.user_id, substr(new.day, 1, 7), new.model, new.provider, coalesce(new.token_id, 0), 1,
        new.usage_source <> '', new.prompt_tokens, new.completion_tokens, new.reasoning_tokens, new.cached_tokens,
        new.cost)
    ON CONFLICT DO UPDATE SET
        attempts = attempts + 1,
        requests = requests + excluded.requests,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        cached_tokens = cached_tokens + excluded.cached_tokens,
        cost = cost + excluded.cost;
    INSERT INTO usage_sums_of_all_by_day (day, model, provider, token_id, attempts, requests, prompt_tokens,
        completion_tokens, reasoning_tokens, cached_tokens, cost, first_id, last_id)
    VALUES (new.day, new.model, new.provider, coalesce(new.token_id, 0), 1, new.usage_source <> '',
        new.prompt_tokens, new.completion_tokens, new.reasoning_tokens, new.cached_tokens, new.cost, new.id, new.id)
    ON CONFLICT DO UPDATE SET
        attempts = attempts + 1,
        requests = requests + excluded.requests,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        cached_tokens = cached_tokens + excluded.cached_tokens,
        cost = cost + excluded.cost,
        first_id = min(first_id, excluded.first_id),
        last_id = max(last_id, excluded.last_id);
END;
CREATE TRIGGER ledger_counts_for_its_token AFTER INSERT ON ledger
WHEN new.usage_source <> '' AND EXISTS (SELECT 1 FROM personal_tokens WHERE id = new.token_id)
BEGIN
    INSERT INTO token_usage (token_id, month, tokens, cost)
    VALUES (new.token_id, substr(new.day, 1, 7), new.prompt_tokens + new.completion_tokens, new.cost)
    ON CONFLICT (token_id, month) DO UPDATE SET tokens = tokens + excluded.tokens, cost = cost + excluded.cost;
END;
