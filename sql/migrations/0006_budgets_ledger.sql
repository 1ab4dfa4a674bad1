-- Budgets that hold and a ledger that tells the truth.

-- What a subscription allows unless its user has limits of its own; NULL: no limit.
CREATE TABLE subscriptions (
    name TEXT PRIMARY KEY,
    -- tokens in a calendar month
    usage_limit INTEGER NOT NULL CHECK (usage_limit >= 0),
    -- millionths in a calendar month
    cost_limit INTEGER CHECK (cost_limit >= 0),
    requests_per_minute INTEGER CHECK (requests_per_minute > 0),
    replies_at_once INTEGER CHECK (replies_at_once > 0)
) STRICT, WITHOUT ROWID;
INSERT INTO subscriptions (name, usage_limit)
VALUES ('free', 1000000), ('pro', 10000000), ('premium', 20000000), ('enterprise', 100000000);

-- a user's own limits; NULL: its subscription's
ALTER TABLE users ADD COLUMN own_usage_limit INTEGER CHECK (own_usage_limit >= 0);
UPDATE users SET own_usage_limit = usage_limit
WHERE usage_limit <> (SELECT usage_limit FROM subscriptions WHERE name = subscription_type);
ALTER TABLE users DROP COLUMN usage_limit;
ALTER TABLE users RENAME COLUMN own_usage_limit TO usage_limit;
ALTER TABLE users ADD COLUMN cost_limit INTEGER CHECK (cost_limit >= 0);
ALTER TABLE users ADD COLUMN requests_per_minute INTEGER CHECK (requests_per_minute > 0);
ALTER TABLE users ADD COLUMN replies_at_once INTEGER CHECK (replies_at_once > 0);

-- What holds for a user. Administrators have no limits but their own; ``usage_limit`` is what is shown.
CREATE VIEW limits AS
SELECT users.id AS user_id,
    coalesce(users.usage_limit, subscriptions.usage_limit) AS usage_limit,
    coalesce(users.usage_limit, iif(role = 'admin', NULL, subscriptions.usage_limit)) AS most_tokens,
    coalesce(users.cost_limit, iif(role = 'admin', NULL, subscriptions.cost_limit)) AS most_cost,
    coalesce(users.requests_per_minute, iif(role = 'admin', NULL, subscriptions.requests_per_minute))
        AS requests_per_minute,
    coalesce(users.replies_at_once, iif(role = 'admin', NULL, subscriptions.replies_at_once)) AS replies_at_once
FROM users JOIN subscriptions ON subscriptions.name = subscription_type;

-- What answers in the making may still use; a row for each. After a crash they hold nothing any more.
CREATE TABLE reservations (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id),
    -- the personal token it was asked with
    token_id INTEGER,
    message_id INTEGER,
    tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL
) STRICT;
CREATE INDEX reservations_by_user ON reservations (user_id);

-- Requests in the current minute (Unix time / 60): of a user (``token_id`` 0), and of each personal token.
CREATE TABLE request_counts (
    user_id INTEGER NOT NULL REFERENCES users (id),
    token_id INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    requests INTEGER NOT NULL,
    PRIMARY KEY (user_id, token_id)
) STRICT, WITHOUT ROWID;

-- the same limits for a personal token; NULL: none but the user's
ALTER TABLE personal_tokens ADD COLUMN cost_limit INTEGER CHECK (cost_limit >= 0);
ALTER TABLE personal_tokens ADD COLUMN requests_per_minute INTEGER CHECK (requests_per_minute > 0);
ALTER TABLE personal_tokens ADD COLUMN replies_at_once INTEGER CHECK (replies_at_once > 0);
ALTER TABLE token_usage ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;

-- One row for every attempt at a provider; only ever added to. Outlives what it names.
CREATE TABLE ledger (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    day TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('chat', 'title', 'completion', 'embedding', 'probe')),
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
CREATE INDEX ledger_by_user ON ledger (user_id, id);
CREATE INDEX ledger_by_day ON ledger (day);
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

-- The sums by day and month are the ledger's: nothing else writes them.
CREATE TRIGGER ledger_counts_for_its_user AFTER INSERT ON ledger WHEN new.usage_source <> ''
BEGIN
    INSERT INTO usage_by_day (user_id, day, model, requests, prompt_tokens, completion_tokens, cost)
    VALUES (new.user_id, new.day, new.model, 1, new.prompt_tokens, new.completion_tokens, new.cost)
    ON CONFLICT (user_id, day, model) DO UPDATE SET
        requests = requests + 1,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens,
        cost = cost + excluded.cost;
END;
CREATE TRIGGER ledger_counts_for_its_token AFTER INSERT ON ledger
WHEN new.usage_source <> '' AND EXISTS (SELECT 1 FROM personal_tokens WHERE id = new.token_id)
BEGIN
    INSERT INTO token_usage (token_id, month, tokens, cost)
    VALUES (new.token_id, substr(new.day, 1, 7), new.prompt_tokens + new.completion_tokens, new.cost)
    ON CONFLICT (token_id, month) DO UPDATE SET tokens = tokens + excluded.tokens, cost = cost + excluded.cost;
END;
