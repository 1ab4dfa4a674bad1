-- Sums of the ledger that answer for it however long it is, and indexes that are read.

DROP TRIGGER ledger_counts_for_its_user;
ALTER TABLE usage_by_day RENAME TO usage_before;

-- A user's attempts by day, model, provider and personal token. They are the ledger's rows of that user from first_id
-- to last_id. Provider '' with no attempts: what was used before there was a ledger.
CREATE TABLE usage_sums_by_day (
    user_id INTEGER NOT NULL REFERENCES users (id),
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    -- 0: without one
    token_id INTEGER NOT NULL,
    -- attempts that cost nothing are no requests
    attempts INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    first_id INTEGER NOT NULL DEFAULT 0,
    last_id INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, day, model, provider, token_id)
) STRICT, WITHOUT ROWID;

-- the same by month, such as 2024-01, for sums over a long time
CREATE TABLE usage_sums_by_month (
    user_id INTEGER NOT NULL REFERENCES users (id),
    month TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    token_id INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, month, model, provider, token_id)
) STRICT, WITHOUT ROWID;

-- the same of all users by day, of the ledger's rows only
CREATE TABLE usage_sums_of_all_by_day (
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    token_id INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    first_id INTEGER NOT NULL DEFAULT 0,
    last_id INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, model, provider, token_id)
) STRICT, WITHOUT ROWID;

-- row by row and not by GROUP BY, which would sort all of the ledger in memory
INSERT INTO usage_sums_by_day (user_id, day, model, provider, token_id, attempts, requests, prompt_tokens,
    completion_tokens, reasoning_tokens, cached_tokens, cost, first_id, last_id)
SELECT user_id, day, model, provider, coalesce(token_id, 0), 1, usage_source <> '', prompt_tokens, completion_tokens,
    reasoning_tokens, cached_tokens, cost, id, id
FROM ledger WHERE true ORDER BY id
ON CONFLICT DO UPDATE SET
    attempts = attempts + 1,
    requests = requests + excluded.requests,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    cost = cost + excluded.cost,
    last_id = excluded.last_id;

INSERT INTO usage_sums_of_all_by_day (day, model, provider, token_id, attempts, requests, prompt_tokens,
    completion_tokens, reasoning_tokens, cached_tokens, cost, first_id, last_id)
SELECT day, model, provider, token_id, attempts, requests, prompt_tokens, completion_tokens, reasoning_tokens,
    cached_tokens, cost, first_id, last_id
FROM usage_sums_by_day WHERE true
ON CONFLICT DO UPDATE SET
    attempts = attempts + excluded.attempts,
    requests = requests + excluded.requests,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    cost = cost + excluded.cost,
    first_id = min(first_id, excluded.first_id),
    last_id = max(last_id, excluded.last_id);

-- what the old sums have beyond the ledger's rows
INSERT INTO usage_sums_by_day (user_id, day, model, provider, token_id, requests, prompt_tokens, completion_tokens, cost)
SELECT user_id, day, model, '', 0, requests - told_requests, prompt_tokens - told_prompt_tokens,
    completion_tokens - told_completion_tokens, cost - told_cost
FROM (
    SELECT old.user_id, old.day, old.model, old.requests, old.prompt_tokens, old.completion_tokens, old.cost,
        coalesce(sum(told.requests), 0) AS told_requests,
        coalesce(sum(told.prompt_tokens), 0) AS told_prompt_tokens,
        coalesce(sum(told.completion_tokens), 0) AS told_completion_tokens,
        coalesce(sum(told.cost), 0) AS told_cost
    FROM usage_before AS old LEFT JOIN usage_sums_by_day AS told
        ON told.user_id = old.user_id AND told.day = old.day AND told.model = old.model
    GROUP BY old.user_id, old.day, old.model
)
WHERE requests > told_requests OR prompt_tokens > told_prompt_tokens OR completion_tokens > told_completion_tokens
    OR cost > told_cost;
DROP TABLE usage_before;

INSERT INTO usage_sums_by_month (user_id, month, model, provider, token_id, attempts, requests, prompt_tokens,
    completion_tokens, reasoning_tokens, cached_tokens, cost)
SELECT user_id, substr(day, 1, 7), model, provider, token_id, attempts, requests, prompt_tokens, completion_tokens,
    reasoning_tokens, cached_tokens, cost
FROM usage_sums_by_day WHERE true
ON CONFLICT DO UPDATE SET
    attempts = attempts + excluded.attempts,
    requests = requests + excluded.requests,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
    cached_tokens = cached_tokens + excluded.cached_tokens,
    cost = cost + excluded.cost;

-- as the table of this name was, for whoever reads the file
CREATE VIEW usage_by_day AS
SELECT user_id, day, model, sum(requests) AS requests, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(cost) AS cost
FROM usage_sums_by_day GROUP BY user_id, day, model HAVING sum(requests) > 0;

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

-- the sums say in which rows a day lies
DROP INDEX ledger_by_day;

-- Messages in one place of the tree have one parent, which has an index; only those without one need another.
DROP INDEX messages_by_place;
CREATE INDEX messages_without_parent ON messages (conversation_id, id) WHERE parent_id IS NULL;

-- What a user's conversations are counted by is in the index; both change together with updated_at. deleted_at is
-- in it because SQLite would look the row up for it, although the index knows.
DROP INDEX conversations_by_user;
CREATE INDEX conversations_by_user ON conversations (user_id, updated_at DESC, id DESC, message_count, deleted_at)
WHERE deleted_at IS NULL;
