-- Images, recordings and files that a model made, in the order they came.
CREATE TABLE message_attachments (
    message_id INTEGER NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    -- one of the two: a stored file, or an address at its provider
    file_id TEXT REFERENCES files (id),
    url TEXT NOT NULL DEFAULT '',
    media_type TEXT NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    -- what is said in a recording
    transcript TEXT NOT NULL DEFAULT '',
    -- code points of the reply's text before it
    text_before INTEGER NOT NULL,
    PRIMARY KEY (message_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_attachments_by_file ON message_attachments (file_id);

-- what a reply cites, as JSON; empty for nothing
ALTER TABLE messages ADD COLUMN sources TEXT NOT NULL DEFAULT '';
