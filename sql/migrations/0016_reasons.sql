-- Why a reply or an API key failed: a code and its parameters as JSON. The sentence is made when it is shown, in the
-- language of the server. Rows from before keep the sentence that was stored.

ALTER TABLE messages ADD COLUMN reason_json TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN last_error_json TEXT NOT NULL DEFAULT '';
