-- name: list_all
SELECT models.id, model_name, models.display_name, provider_id, coalesce(provider_key, 'alias') AS provider_slug,
    coalesce(providers.display_name, '') AS provider_display_name,
    coalesce(providers.is_active, 1) AS provider_is_active, coalesce(needs_key, 1) AS provider_needs_key,
    models.created_at, models.updated_at,
    model_type, max_tokens, context_window, supports_streaming, supports_function_calling, supports_vision,
    input_price, output_price, cached_price, cache_write_price, cache_write_1h_price, units, is_priced, description,
    fallback_model, allow_extras, models.is_active, models.sort_order, upstream_name
FROM models LEFT JOIN providers ON providers.id = provider_id
ORDER BY models.sort_order, models.id DESC

-- name: get_by_id
SELECT models.id, model_name, models.display_name, provider_id, coalesce(provider_key, 'alias') AS provider_slug,
    coalesce(providers.display_name, '') AS provider_display_name,
    coalesce(providers.is_active, 1) AS provider_is_active, coalesce(needs_key, 1) AS provider_needs_key,
    models.created_at, models.updated_at,
    model_type, max_tokens, context_window, supports_streaming, supports_function_calling, supports_vision,
    input_price, output_price, cached_price, cache_write_price, cache_write_1h_price, units, is_priced, description,
    fallback_model, allow_extras, models.is_active, models.sort_order, upstream_name
FROM models LEFT JOIN providers ON providers.id = provider_id
WHERE models.id = :model_id

-- name: get_by_name
SELECT models.id, provider_id, model_type FROM models WHERE model_name = :model_name

-- name: insert
-- with the defaults of the columns; update writes the rest
INSERT INTO models (model_name, display_name, provider_id, created_at, updated_at)
VALUES (:model_name, :display_name, :provider_id, :now, :now)
RETURNING id

-- name: import_listed
-- a model out of its provider's list; one that exists stays as it is, also if it has another name here
INSERT INTO models (model_name, display_name, provider_id, model_type, max_tokens, context_window,
    supports_function_calling, supports_vision, input_price, output_price, cached_price, cache_write_price,
    cache_write_1h_price, units, is_priced, created_at, updated_at)
SELECT :model_name, :model_name, :provider_id, :model_type, :max_tokens, :context_window,
    :supports_function_calling, :supports_vision, :input_price, :output_price, :cached_price, :cache_write_price,
    :cache_write_1h_price, :units, :is_priced, :now, :now
WHERE NOT EXISTS (SELECT 1 FROM models WHERE provider_id = :provider_id AND upstream_name = :model_name)
ON CONFLICT (model_name) DO NOTHING

-- name: update
UPDATE models SET model_name = :model_name, display_name = :display_name, provider_id = :provider_id,
    model_type = :model_type, max_tokens = :max_tokens, context_window = :context_window,
    supports_streaming = :supports_streaming, supports_function_calling = :supports_function_calling,
    supports_vision = :supports_vision, input_price = :input_price, output_price = :output_price,
    cached_price = :cached_price, cache_write_price = :cache_write_price,
    cache_write_1h_price = :cache_write_1h_price, units = :units, is_priced = :is_priced,
    description = :description, fallback_model = :fallback_model, allow_extras = :allow_extras,
    is_active = :is_active, sort_order = :sort_order, upstream_name = :upstream_name,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :model_id

-- name: toggle
UPDATE models SET is_active = 1 - is_active,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :model_id

-- name: set_order
UPDATE models SET sort_order = :sort_order,
    updated_at = CASE WHEN updated_at > :now THEN updated_at ELSE :now END
WHERE id = :model_id

-- name: delete
DELETE FROM models WHERE id = :model_id

-- name: delete_others
-- the built-in provider has one model: the one that the server was started with
DELETE FROM models WHERE provider_id = :provider_id AND model_name <> :model_name

-- name: offer
-- free of charge, and first in the list, whose first entry the chat page preselects; an administrator's choice stays
INSERT INTO models (model_name, display_name, provider_id, max_tokens, context_window, description,
    sort_order, created_at, updated_at)
VALUES (:model_name, :display_name, :provider_id, :max_tokens, :context_window, :description, -1, :now, :now)
ON CONFLICT (model_name) DO UPDATE SET max_tokens = excluded.max_tokens,
    context_window = excluded.context_window
