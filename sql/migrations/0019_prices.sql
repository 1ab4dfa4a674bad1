-- Prices per million tokens instead of per 1,000, still in millionths: a tenth, or 1.25 times, of a list price is then a
-- whole number. Tokens that a provider reads from its cache, or writes to it, have prices of their own.

UPDATE models SET input_price = input_price * 1000, output_price = output_price * 1000;
-- NULL: the input price
ALTER TABLE models ADD COLUMN cached_price INTEGER CHECK (cached_price >= 0);
ALTER TABLE models ADD COLUMN cache_write_price INTEGER CHECK (cache_write_price >= 0);
-- of what the provider keeps for an hour
ALTER TABLE models ADD COLUMN cache_write_1h_price INTEGER CHECK (cache_write_1h_price >= 0);
-- 1: the prices are known, zeros among them; 0: zeros are prices that nobody has set
ALTER TABLE models ADD COLUMN is_priced INTEGER NOT NULL DEFAULT 0 CHECK (is_priced IN (0, 1));
UPDATE models SET is_priced = 1
WHERE input_price > 0 OR output_price > 0 OR model_name IN (
    'gpt-4o-mini', 'gpt-4.1', 'gpt-5', 'claude-sonnet-4-5', 'claude-haiku-4-5', 'gemini-2.5-pro',
    'gemini-2.5-flash', 'Qwen/Qwen2.5-72B-Instruct', 'Qwen/QwQ-32B', 'deepseek-ai/DeepSeek-V3',
    'deepseek-ai/DeepSeek-R1', 'deepseek-chat', 'deepseek-reasoner', 'kimi-k2-turbo-preview', 'moonshot-v1-32k',
    'glm-4.6', 'glm-4.5-air', 'qwen-max', 'qwen-plus', 'ernie-4.5-turbo-128k', 'doubao-seed-1-6-250615');

-- The providers' list prices of late 2025, where the price of the input is still the one that they belong to.
UPDATE models SET cached_price = column3, cache_write_price = column4, cache_write_1h_price = column5
FROM (VALUES
    ('gpt-4o-mini', 150000, 75000, NULL, NULL),
    ('gpt-4.1', 2000000, 500000, NULL, NULL),
    ('gpt-5', 1250000, 125000, NULL, NULL),
    ('claude-sonnet-4-5', 3000000, 300000, 3750000, 6000000),
    ('claude-haiku-4-5', 1000000, 100000, 1250000, 2000000),
    ('gemini-2.5-pro', 1250000, 125000, NULL, NULL),
    ('gemini-2.5-flash', 300000, 30000, NULL, NULL),
    ('deepseek-chat', 280000, 28000, NULL, NULL),
    ('deepseek-reasoner', 280000, 28000, NULL, NULL),
    ('kimi-k2-turbo-preview', 1150000, 150000, NULL, NULL),
    ('glm-4.6', 600000, 110000, NULL, NULL),
    ('glm-4.5-air', 200000, 30000, NULL, NULL),
    ('qwen-max', 1600000, 320000, NULL, NULL),
    ('qwen-plus', 400000, 80000, 500000, NULL),
    ('doubao-seed-1-6-250615', 110000, 22000, NULL, NULL)
)
WHERE model_name = column1 AND input_price = column2;

-- The ledger: the same unit in every row. NULL: as the input price, in rows from before.
DROP TRIGGER ledger_is_not_changed;
DROP TRIGGER ledger_counts_for_its_user;
DROP TRIGGER ledger_counts_for_its_token;
ALTER TABLE ledger ADD COLUMN cached_price INTEGER;
ALTER TABLE ledger ADD COLUMN cache_write_price INTEGER;
ALTER TABLE ledger ADD COLUMN cache_write_1h_price INTEGER;
-- all tokens that were written to the cache, and those of them that it keeps for an hour
ALTER TABLE ledger ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN cache_write_1h_tokens INTEGER NOT NULL DEFAULT 0;
-- what counts against budgets of tokens: a token read from the cache is a part of one
ALTER TABLE ledger ADD COLUMN counted_tokens INTEGER NOT NULL DEFAULT 0;
-- millionths: the cost without any cache, less the cost; below 0 where more was paid for writing than reading saved
ALTER TABLE ledger ADD COLUMN savings INTEGER NOT NULL DEFAULT 0;
UPDATE ledger SET input_price = input_price * 1000, output_price = output_price * 1000,
    counted_tokens = prompt_tokens + completion_tokens;
CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger
BEGIN
    SELECT raise(ABORT, 'the ledger is only ever added to');
END;

ALTER TABLE messages ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;

ALTER TABLE usage_sums_by_day ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_sums_by_day ADD COLUMN counted_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_sums_by_day ADD COLUMN savings INTEGER NOT NULL DEFAULT 0;
UPDATE usage_sums_by_day SET counted_tokens = prompt_tokens + completion_tokens;
ALTER TABLE usage_sums_by_month ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_sums_by_month ADD COLUMN counted_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_sums_by_month ADD COLUMN savings INTEGER NOT NULL DEFAULT 0;
UPDATE usage_sums_by_month SET counted_tokens = prompt_tokens + completion_tokens;
ALTER TABLE usage_sums_of_all_by_day ADD COLUMN cache_write_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_sums_of_all_by_day ADD COLUMN counted_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage_sums_of_all_by_day ADD COLUMN savings INTEGER NOT NULL DEFAULT 0;
UPDATE usage_sums_of_all_by_day SET counted_tokens = prompt_tokens + completion_tokens;

-- The sums are the ledger's: nothing else writes them.
CREATE TRIGGER ledger_counts_for_its_user AFTER INSERT ON ledger
BEGIN
    INSERT INTO usage_sums_by_day (user_id, day, model, provider, token_id, attempts, requests, prompt_tokens,
        completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost, savings, first_id,
        last_id)
    VALUES (new.user_id, new.day, new.model, new.provider, coalesce(new.token_id, 0), 1, new.usage_source <> '',
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
    INSERT INTO usage_sums_by_month (user_id, month, model, provider, token_id, attempts, requests, prompt_tokens,
        completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost, savings)
    VALUES (new.user_id, substr(new.day, 1, 7), new.model, new.provider, coalesce(new.token_id, 0), 1,
        new.usage_source <> '', new.prompt_tokens, new.completion_tokens, new.reasoning_tokens, new.cached_tokens,
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
    INSERT INTO usage_sums_of_all_by_day (day, model, provider, token_id, attempts, requests, prompt_tokens,
        completion_tokens, reasoning_tokens, cached_tokens, cache_write_tokens, counted_tokens, cost, savings, first_id,
        last_id)
    VALUES (new.day, new.model, new.provider, coalesce(new.token_id, 0), 1, new.usage_source <> '',
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
CREATE TRIGGER ledger_counts_for_its_token AFTER INSERT ON ledger
WHEN new.usage_source <> '' AND EXISTS (SELECT 1 FROM personal_tokens WHERE id = new.token_id)
BEGIN
    INSERT INTO token_usage (token_id, month, tokens, cost)
    VALUES (new.token_id, substr(new.day, 1, 7), new.counted_tokens, new.cost)
    ON CONFLICT (token_id, month) DO UPDATE SET tokens = tokens + excluded.tokens, cost = cost + excluded.cost;
END;
