-- What administrators did and what concerns security; only ever added to, and never with a secret in it.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    -- who did it, and under which name at that time; NULL: nobody who is signed in
    actor_id INTEGER REFERENCES users (id),
    actor TEXT NOT NULL,
    -- what it was done to, such as "user 12"
    target TEXT NOT NULL,
    address TEXT NOT NULL,
    request_id TEXT NOT NULL,
    -- JSON object
    details TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_event ON audit (event, id);
CREATE INDEX audit_by_actor ON audit (actor_id, id);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit is only ever added to');
END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
BEGIN
    SELECT raise(ABORT, 'the audit is only ever added to');
END;
-- INSERT OR REPLACE removes the old row without asking the trigger that guards against deletion.
CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = new.id)
BEGIN
    SELECT raise(ABORT, 'the audit is only ever added to');
END;
