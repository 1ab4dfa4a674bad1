"""Section 2: models."""

from chathub.handlers import models
from chathub.openapi.operation import Operation, Operations, json
from chathub.schemas import models as schemas
from chathub.schemas.success import Success

_WRONG = (
    "model_name_taken unknown_provider alias_has_no_provider alias_without_targets target_is_alias "
    "target_of_other_type target_twice unknown_target unit_price_invalid unit_price_key_unknown "
    "unit_prices_too_many"
)
_TARGET = "model_is_target"

OPERATIONS: Operations = {
    models.list_all: Operation(
        id="listModels",
        summary="List the models",
        description="All models, also those that are disabled and those that are not for chats, by "
        "`sort_order`. `available` is for the caller; it is false for all where nobody is signed in.",
        query=[schemas.ModelFilter],
        responses=[json(list[schemas.Model])],
        is_signed_in_by_choice=True,
    ),
    models.create: Operation(
        id="createModel",
        summary="Create a model, or an alias for models",
        description="A model with `targets` is an alias: it has no provider, price or length of its own. "
        "The targets of the lowest `order` are tried first, among them by `weight`. A `*` in the name of "
        "an alias stands for any text. Of an alias only `model_name`, `display_name`, `description`, "
        "`fallback_model`, `is_active` and `sort_order` are its own; other fields are ignored.",
        body=schemas.NewModel,
        responses=[json(schemas.ModelChanged)],
        errors={400: _WRONG, 409: _TARGET},
    ),
    models.update: Operation(
        id="updateModel",
        summary="Change a model",
        description="Only the fields that are given change; null gives a field its default back, and keeps "
        "the `targets`.",
        body=schemas.ModelChange,
        responses=[json(schemas.ModelChanged)],
        errors={400: _WRONG, 404: "model_not_found", 409: _TARGET},
    ),
    models.delete: Operation(
        id="deleteModel",
        summary="Delete a model for good",
        description="Conversations, messages and the ledger keep its name. A target of an alias is not "
        "deleted.",
        responses=[json(Success)],
        errors={404: "model_not_found", 409: _TARGET},
    ),
    models.toggle: Operation(
        id="toggleModel",
        summary="Enable a model that is disabled, or the other way round",
        responses=[json(schemas.ModelChanged)],
        errors={404: "model_not_found"},
    ),
    models.reorder: Operation(
        id="reorderModels",
        summary="Set the order of several models at once, or of none",
        body=schemas.ModelOrders,
        responses=[json(Success)],
        errors={404: "models_not_reordered"},
    ),
}
