-- name: list_all
SELECT id, provider_key AS slug, display_name, default_base_url, protocol, needs_key, is_active, sort_order,
    proxy_url, proxy_secret, created_at, updated_at
FROM providers ORDER BY sort_order, id

-- name: get_by_id
SELECT id, provider_key AS slug, display_name, default_base_url, protocol, needs_key, is_active, sort_order,
    proxy_url, proxy_secret, created_at, updated_at
FROM providers WHERE id = :provider_id

-- name: get_by_slug
SELECT id, provider_key AS slug, display_name, default_base_url, protocol, needs_key, is_active, sort_order,
    proxy_url, proxy_secret, created_at, updated_at
FROM providers WHERE provider_key = :slug

-- name: insert
INSERT INTO providers (provider_key, display_name, default_base_url, protocol, needs_key, is_active, sort_order,
    created_at, updated_at)
VALUES (:slug, :display_name, :default_base_url, :protocol, :needs_key, :is_active, :sort_order, :now, :now)
RETURNING id

-- name: update
UPDATE providers SET display_name = :display_name, default_base_url = :default_base_url, protocol = :protocol,
    needs_key = :needs_key, is_active = :is_active, sort_order = :sort_order,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :provider_id

-- name: set_proxy
UPDATE providers SET proxy_url = :proxy_url, proxy_secret = :proxy_secret WHERE id = :provider_id

-- name: reseal_proxy
UPDATE providers SET proxy_secret = :secret WHERE id = :provider_id

-- name: set_active
UPDATE providers SET is_active = :is_active,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :provider_id
