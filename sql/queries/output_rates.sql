-- name: list_newest
-- the models that replied last, the newest first
SELECT provider, model, rates, plain FROM output_rates ORDER BY updated_at DESC LIMIT :limit

-- name: put
INSERT INTO output_rates (provider, model, rates, plain, updated_at) VALUES (:provider, :model, :rates, :plain, :now)
ON CONFLICT (provider, model) DO UPDATE SET
    rates = excluded.rates, plain = excluded.plain,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END

-- name: delete_oldest
-- all but the :most that replied last
DELETE FROM output_rates
WHERE updated_at < (SELECT updated_at FROM output_rates ORDER BY updated_at DESC LIMIT 1 OFFSET :most - 1)
