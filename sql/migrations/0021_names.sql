-- Names of the administrator's own: what a provider calls a model, and aliases, which stand for other models.

-- the name that goes to the provider; empty: model_name
ALTER TABLE models ADD COLUMN upstream_name TEXT NOT NULL DEFAULT '';

-- An alias has targets in place of a provider: the provider may be NULL.
UPDATE providers SET provider_key = 'alias-' || id WHERE provider_key = 'alias';
DROP INDEX models_by_provider;
ALTER TABLE models RENAME COLUMN provider_id TO old_provider_id;
ALTER TABLE models ADD COLUMN provider_id INTEGER REFERENCES providers (id);
UPDATE models SET provider_id = old_provider_id;
ALTER TABLE models DROP COLUMN old_provider_id;
CREATE INDEX models_by_provider ON models (provider_id);

-- The models that an alias stands for. One that is taken out of the table is a target no more.
CREATE TABLE model_targets (
    alias_id INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    target_id INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    -- its place in the administrator's list
    position INTEGER NOT NULL,
    weight INTEGER NOT NULL CHECK (weight > 0),
    -- those of a higher one are tried after all of a lower one
    try_order INTEGER NOT NULL,
    PRIMARY KEY (alias_id, position),
    UNIQUE (target_id, alias_id)
) STRICT, WITHOUT ROWID;

-- the name that was requested where it is not the model's own: an alias's, or that of a model whose fallback replied
ALTER TABLE ledger ADD COLUMN requested_model TEXT NOT NULL DEFAULT '';

-- The sums of the ledger, so that both names find what they find in its rows.
DROP TRIGGER ledger_counts_for_its_user;
DROP VIEW usage_by_day;
CREATE TABLE usage_sums_by_day_new (
    user_id INTEGER NOT NULL REFERENCES users (id),
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    -- 0: without one
    token_id INTEGER NOT NULL,
    requested_model TEXT NOT NULL,
    -- attempts that cost nothing are no requests
    attempts INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    counted_tokens INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    savings INTEGER NOT NULL DEFAULT 0,
    first_id INTEGER NOT NULL DEFAULT 0,
    last_id INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, day, model, provider, token_id, requested_model)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_sums_by_day_new (user_id, day, model, provider, token_id, requested_model, attempts, requests,
    prompt_tokens, completion_tokens,
    reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost, savings, first_id, last_id)
SELECT user_id, day, model, provider, token_id, '', attempts, requests, prompt_tokens, completion_tokens,
    reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost, savings, first_id, last_id
FROM usage_sums_by_day;
DROP TABLE usage_sums_by_day;
ALTER TABLE usage_sums_by_day_new RENAME TO usage_sums_by_day;

CREATE TABLE usage_sums_by_month_new (
    user_id INTEGER NOT NULL REFERENCES users (id),
    month TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    token_id INTEGER NOT NULL,
    requested_model TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    counted_tokens INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    savings INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, month, model, provider, token_id, requested_model)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_sums_by_month_new (user_id, month, model, provider, token_id, requested_model, attempts, requests,
    prompt_tokens, completion_tokens,
    reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost, savings)
SELECT user_id, month, model, provider, token_id, '', attempts, requests, prompt_tokens, completion_tokens,
    reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost, savings
FROM usage_sums_by_month;
DROP TABLE usage_sums_by_month;
ALTER TABLE usage_sums_by_month_new RENAME TO usage_sums_by_month;

CREATE TABLE usage_sums_of_all_by_day_new (
    day TEXT NOT NULL,
    model TEXT NOT NULL,
    provider TEXT NOT NULL,
    token_id INTEGER NOT NULL,
    requested_model TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    requests INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    reasoning_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    cache_write_tokens INTEGER NOT NULL DEFAULT 0,
    counted_tokens INTEGER NOT NULL DEFAULT 0,
    cost INTEGER NOT NULL DEFAULT 0,
    savings INTEGER NOT NULL DEFAULT 0,
    first_id INTEGER NOT NULL DEFAULT 0,
    last_id INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, model, provider, token_id, requested_model)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_sums_of_all_by_day_new (day, model, provider, token_id, requested_model, attempts, requests,
    prompt_tokens, completion_tokens,
    reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost, savings, first_id, last_id)
SELECT day, model, provider, token_id, '', attempts, requests, prompt_tokens, completion_tokens,
    reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost, savings, first_id, last_id
FROM usage_sums_of_all_by_day;
DROP TABLE usage_sums_of_all_by_day;
ALTER TABLE usage_sums_of_all_by_day_new RENAME TO usage_sums_of_all_by_day;

CREATE VIEW usage_by_day AS
SELECT user_id, day, model, sum(requests) AS requests, sum(prompt_tokens) AS prompt_tokens,
    sum(completion_tokens) AS completion_tokens, sum(cost) AS cost
FROM usage_sums_by_day GROUP BY user_id, day, model HAVING sum(requests) > 0;

-- The sums are the ledger's: nothing else writes them.
CREATE TRIGGER ledger_counts_for_its_user AFTER INSERT ON ledger
BEGIN
    INSERT INTO usage_sums_by_day (user_id, day, model, provider, token_id, requested_model, attempts, requests,
        prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost,
        savings, first_id, last_id)
    VALUES (new.user_id, new.day, new.model, new.provider, coalesce(new.token_id, 0), new.requested_model, 1,
        new.usage_source <> '', new.prompt_tokens, new.completion_tokens, new.reasoning_tokens, new.cached_tokens,
        new.cache_write_tokens, new.counted_tokens, new.cost, new.savings, new.id, new.id)
    ON CONFLICT DO UPDATE SET
        attempts = attempts + 1,
        requests = requests + excluded.requests,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        cached_tokens = cached_tokens + excluded.cached_tokens,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
        counted_tokens = counted_tokens + excluded.counted_tokens,
        cost = cost + excluded.cost,
        savings = savings + excluded.savings,
        first_id = min(first_id, excluded.first_id),
        last_id = max(last_id, excluded.last_id);
    INSERT INTO usage_sums_by_month (user_id, month, model, provider, token_id, requested_model, attempts, requests,
        prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost,
        savings)
    VALUES (new.user_id, substr(new.day, 1, 7), new.model, new.provider, coalesce(new.token_id, 0), new.requested_model,
        1, new.usage_source <> '', new.prompt_tokens, new.completion_tokens, new.reasoning_tokens, new.cached_tokens,
        new.cache_write_tokens, new.counted_tokens, new.cost, new.savings)
    ON CONFLICT DO UPDATE SET
        attempts = attempts + 1,
        requests = requests + excluded.requests,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        cached_tokens = cached_tokens + excluded.cached_tokens,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
        counted_tokens = counted_tokens + excluded.counted_tokens,
        cost = cost + excluded.cost,
        savings = savings + excluded.savings;
    INSERT INTO usage_sums_of_all_by_day (day, model, provider, token_id, requested_model, attempts, requests,
        prompt_tokens, completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost,
        savings, first_id, last_id)
    VALUES (new.day, new.model, new.provider, coalesce(new.token_id, 0), new.requested_model, 1, new.usage_source <> '',
        new.prompt_tokens, new.completion_tokens, new.reasoning_tokens, new.cached_tokens, new.cache_write_tokens,
        new.counted_tokens, new.cost, new.savings, new.id, new.id)
    ON CONFLICT DO UPDATE SET
        attempts = attempts + 1,
        requests = requests + excluded.requests,
        prompt_tokens = prompt_tokens + excluded.prompt_tokens,
        completion_tokens = completion_tokens + excluded.completion_tokens,
        reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens,
        cached_tokens = cached_tokens + excluded.cached_tokens,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
        counted_tokens = counted_tokens + excluded.counted_tokens,
        cost = cost + excluded.cost,
        savings = savings + excluded.savings,
        first_id = min(first_id, excluded.first_id),
        last_id = max(last_id, excluded.last_id);
END;
