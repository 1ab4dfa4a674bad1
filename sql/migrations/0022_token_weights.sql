-- What a model's own reported usage has taught about the tokens of prompts.

CREATE TABLE token_weights (
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    -- numbers as JSON: reports, weights, covariance
    state TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (provider, model)
) STRICT, WITHOUT ROWID;
