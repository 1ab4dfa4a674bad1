-- What the stream of a reply told and the message did not keep.

-- the model that was asked for; ``model`` is the one that answered
ALTER TABLE messages ADD COLUMN asked_model TEXT NOT NULL DEFAULT '';
UPDATE messages SET asked_model = model WHERE role = 'assistant';

-- seconds that a failed reply's provider asked to wait; NULL: it did not say
ALTER TABLE messages ADD COLUMN retry_after REAL;
