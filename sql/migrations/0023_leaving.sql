-- What a request has used that nobody saw the end of.

-- What a reservation is for: a crash leaves it, and the next start enters it in the ledger. NULL: of an older version.
ALTER TABLE reservations ADD COLUMN kind TEXT CHECK (kind IN ('chat', 'completion', 'embedding'));
ALTER TABLE reservations ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN model TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN requested_model TEXT NOT NULL DEFAULT '';
-- of the first attempt
ALTER TABLE reservations ADD COLUMN key_id INTEGER;
-- the part of the tokens that is the prompt
ALTER TABLE reservations ADD COLUMN prompt_tokens INTEGER NOT NULL DEFAULT 0;
-- milliseconds: when it was made, and the request was sent
ALTER TABLE reservations ADD COLUMN at INTEGER NOT NULL DEFAULT 0;

-- What the reported usage of models has taught about their output.
CREATE TABLE output_rates (
    provider TEXT NOT NULL,
    model TEXT NOT NULL,
    -- JSON: tokens per second of the last replies
    rates TEXT NOT NULL,
    -- replies without reasoning in a row, less those that show that the model does not reason
    plain INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (provider, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX output_rates_by_update ON output_rates (updated_at);
