"""Section 3: providers."""

from chathub.handlers import probes, providers
from chathub.openapi.operation import Operation, Operations, json
from chathub.schemas import models
from chathub.schemas import providers as schemas

_WRONG = "url_invalid proxy_url_invalid proxy_url_unreadable"
_UNREACHED = {
    400: "api_key_missing api_key_moved api_key_unreadable api_key_refused shared_api_key_refused "
    "model_has_no_key local_model_disabled proxy_url_unreadable base_url_private provider_disabled",
    403: "model_has_no_price",
    404: "provider_not_found",
    429: "api_keys_cooling api_keys_pausing api_keys_without_credit",
    502: "model_list_missing local_model_disabled",
}

OPERATIONS: Operations = {
    providers.list_all: Operation(
        id="listProviders",
        summary="List the providers",
        description="The active ones, by `sort_order`. `proxy_url` is there for administrators only, and "
        "others see no query of a `default_base_url`.",
        query=[schemas.ProviderFilter],
        responses=[json(schemas.ProviderList)],
    ),
    providers.create: Operation(
        id="createProvider",
        summary="Create a provider",
        description="A deleted provider with the same `provider_key` is restored with its models and API "
        "keys: what is not given stays as it was. Where `protocol` is not given, the address decides.",
        body=schemas.NewProvider,
        responses=[json(schemas.ProviderChanged)],
        errors={400: f"provider_key_taken provider_key_reserved {_WRONG}"},
    ),
    providers.update: Operation(
        id="updateProvider",
        summary="Change a provider",
        description="Only the fields that are given change. API keys are bound to scheme, host and port: "
        "those that no longer fit must be entered again.",
        body=schemas.ProviderChange,
        responses=[json(schemas.ProviderChanged)],
        errors={400: _WRONG, 404: "provider_not_found"},
    ),
    providers.delete: Operation(
        id="deleteProvider",
        summary="Disable a provider",
        description="Its models cannot be used any more. Restore it with `is_active`, or create it again.",
        responses=[json(schemas.ProviderChanged)],
        errors={404: "provider_not_found"},
    ),
    providers.get: Operation(
        id="getProvider",
        summary="Get a provider, also a deleted one",
        responses=[json(schemas.OneProvider)],
        errors={404: "provider_not_found"},
    ),
    probes.list_models: Operation(
        id="listModelsOfProvider",
        summary="Read the provider's own list of models",
        description="With the API key that a chat would use first.",
        responses=[json(models.OfferedModelList)],
        errors=_UNREACHED,
    ),
    probes.import_models: Operation(
        id="importModels",
        summary="Import models from the provider's own list",
        description="Type, lengths, abilities and prices are those of the provider's list, else those that "
        "ChatHub knows by name. Models that are there already do not change.",
        body=models.ModelImport,
        responses=[json(models.ModelsImported)],
        errors={**_UNREACHED, 400: f"models_not_offered {_UNREACHED[400]}"},
    ),
}
