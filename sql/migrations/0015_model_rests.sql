-- Health belongs to an API key and a model where a provider's refusal is about the model.

-- API keys that rest for one model of their provider. A row stays until the key replies with the model, is tested or
-- entered again: the next rest is longer.
CREATE TABLE model_rests (
    key_id INTEGER NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    model TEXT NOT NULL,
    -- milliseconds
    until INTEGER NOT NULL,
    -- of the last failure: its class, ChatHub's code for it, and the HTTP status of the provider (0: there was none)
    failure_class TEXT NOT NULL,
    code TEXT NOT NULL,
    http_status INTEGER NOT NULL,
    failures_in_row INTEGER NOT NULL,
    failed_at INTEGER NOT NULL,
    PRIMARY KEY (key_id, model)
) STRICT, WITHOUT ROWID;
