-- A proxy for the requests to a provider.

-- NULL: what the configuration says; empty: none; else the proxy's URL, with *** in the place of its secret
ALTER TABLE providers ADD COLUMN proxy_url TEXT;
-- the whole URL, encrypted and bound to the row, where proxy_url has a place for a secret
ALTER TABLE providers ADD COLUMN proxy_secret BLOB;
