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
