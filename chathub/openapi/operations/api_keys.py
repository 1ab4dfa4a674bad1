"""Section 7: the caller's API keys for providers."""

from typing import Any

from chathub.handlers import api_keys, probes
from chathub.openapi.operation import Operation, Operations, json
from chathub.schemas import api_keys as schemas
from chathub.schemas.success import Success

_KEY = "api_key_characters_invalid api_key_is_placeholder"
_WRONG = f"{_KEY} url_invalid base_url_private provider_disabled_for_keys"
_TESTED: Any = schemas.ApiKeyWorks | schemas.ApiKeyFails

OPERATIONS: Operations = {
    api_keys.save: Operation(
        id="saveApiKey",
        summary="Save an API key",
        description="It replaces the caller's API key of the same provider and `label`. Keys are stored "
        "encrypted and never shown. The provider is not asked: test the key for that.",
        body=schemas.NewApiKey,
        responses=[json(schemas.ApiKeyChanged)],
        errors={400: f"unknown_provider local_model_needs_no_key {_WRONG}"},
    ),
    api_keys.list_own: Operation(
        id="listApiKeys",
        summary="List the caller's own API keys",
        responses=[json(list[schemas.ApiKey])],
    ),
    api_keys.update: Operation(
        id="updateApiKey",
        summary="Change an API key",
        description="Only the fields that are given change. A `base_url` at another origin needs the API "
        "key again.",
        body=schemas.ApiKeyChange,
        responses=[json(schemas.ApiKeyChanged)],
        errors={400: f"new_address_needs_key {_WRONG}", 404: "api_key_not_found"},
    ),
    api_keys.delete: Operation(
        id="deleteApiKey",
        summary="Delete an API key for good",
        description="Replies that are generated with it are stopped.",
        responses=[json(Success)],
        errors={404: "api_key_not_found"},
    ),
    api_keys.toggle: Operation(
        id="toggleApiKey",
        summary="Enable an API key that is disabled, or the other way round",
        responses=[json(schemas.ApiKeyChanged)],
        errors={404: "api_key_not_found"},
    ),
    probes.test_key: Operation(
        id="testApiKey",
        summary="Test an API key at its provider",
        description="With the list of models, else with a reply of one token; with `model` by a reply of "
        "that model. An API key that works is usable again, whatever failed before. Both outcomes are 200.",
        body=schemas.KeyTest,
        responses=[json(_TESTED)],
        errors={
            400: "api_key_moved api_key_unreadable model_of_other_provider unknown_model "
            "local_model_needs_no_key proxy_url_unreadable local_model_disabled",
            404: "api_key_not_found",
            503: "not_stored",
        },
    ),
}
