-- Models that are paid by the image, second, character or search.

-- JSON: millionths of money for a million units, by keys such as "image" and "image/1024x1024/high"
ALTER TABLE models ADD COLUMN units TEXT NOT NULL DEFAULT '{}';

-- what was paid by: empty where it is tokens; the price is in millionths for a million units
ALTER TABLE ledger ADD COLUMN unit TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN units INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN unit_price INTEGER NOT NULL DEFAULT 0;

-- Reservations of the new kinds, and the units that a crash leaves to be paid: the unit with its attributes.
ALTER TABLE reservations RENAME COLUMN kind TO old_kind;
ALTER TABLE reservations ADD COLUMN kind TEXT CHECK (kind IN ('chat', 'completion', 'embedding', 'text', 'image',
    'speech', 'transcription', 'rerank', 'moderation'));
UPDATE reservations SET kind = old_kind;
ALTER TABLE reservations DROP COLUMN old_kind;
ALTER TABLE reservations ADD COLUMN unit TEXT NOT NULL DEFAULT '';
ALTER TABLE reservations ADD COLUMN units INTEGER NOT NULL DEFAULT 0;
