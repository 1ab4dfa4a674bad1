"""Section 11: for programs, in the formats of OpenAI and Anthropic: chats, responses and models."""

from typing import Any

from chathub.handlers import v1, v1_messages, v1_models, v1_responses, v1_stored_responses
from chathub.openapi.bodies import anthropic, openai, responses
from chathub.openapi.operation import Header, Operation, Operations, events, json
from chathub.openapi.operations.gateway import COUNTING, GATEWAY, with_codes
from chathub.schemas.models import OfferedFilter, OfferedPage
from chathub.schemas.responses import ItemsPage, Retrieval

_ESTIMATED = Header("X-ChatHub-Estimated", "`true` where the provider did not count")
_VERSION = Header("anthropic-version", "With it, or with `x-api-key`, the response has Anthropic's shape.")
_KEY = Header(
    "Idempotency-Key", "1 to 255 visible characters: the same request for a stored response is paid once."
)
_CHUNK: Any = openai.ChatCompletionChunk | openai.StreamError
_STORED = "response_not_found"
_STORING = with_codes(
    GATEWAY,
    {
        400: "background_not_stored conversation_unsupported previous_response_not_found "
        "response_chain_too_long responses_not_kept item_unknown idempotency_key_invalid",
        404: _STORED,
        409: "previous_response_running idempotency_key_reused",
        413: "body_too_large",
        507: "disk_low storage_full",
    },
)


OPERATIONS: Operations = {
    v1.chat_completions: Operation(
        id="createChatCompletion",
        summary="OpenAI's chat completions",
        body=openai.ChatCompletionRequest,
        responses=[json(openai.ChatCompletion), events(_CHUNK, "With `stream`")],
        errors=GATEWAY,
    ),
    v1_messages.create: Operation(
        id="createMessage",
        summary="Anthropic's messages",
        body=anthropic.MessagesRequest,
        responses=[json(anthropic.AnthropicMessage), events(anthropic.AnthropicEvent, "With `stream`")],
        errors=GATEWAY,
    ),
    v1_messages.count_tokens: Operation(
        id="countMessageTokens",
        summary="How many tokens a prompt has, for Anthropic's clients",
        description="Nothing is generated, and no budget is used.",
        body=anthropic.MessagesRequest,
        responses=[json(anthropic.CountedTokens)],
        headers=[_ESTIMATED],
        errors=COUNTING,
    ),
    v1_responses.create: Operation(
        id="createResponse",
        summary="OpenAI's Responses",
        description="A response is stored only with `store` or `background` of true, or with "
        "`previous_response_id`; a stored one goes on if the client leaves.",
        body=responses.ResponsesRequest,
        responses=[json(responses.ModelResponse), events(responses.ResponseEvent, "With `stream`")],
        sent_headers=[_KEY],
        errors=_STORING,
    ),
    v1_responses.count_input_tokens: Operation(
        id="countInputTokens",
        summary="How many tokens an input has, for OpenAI's clients",
        description="Nothing is generated, and no budget is used.",
        body=responses.ResponsesRequest,
        responses=[json(responses.CountedInput)],
        headers=[_ESTIMATED],
        errors=with_codes(COUNTING, _STORING),
    ),
    v1_stored_responses.get: Operation(
        id="getResponse",
        summary="Get a stored response, or its events",
        description="With `stream` the events behind `starting_after`, to the end of the response.",
        query=[Retrieval],
        responses=[json(responses.ModelResponse), events(responses.ResponseEvent, "With `stream`")],
        errors={404: _STORED, 429: "too_many_streams"},
    ),
    v1_stored_responses.delete: Operation(
        id="deleteResponse",
        summary="Delete a stored response",
        description="One that is being generated is stopped first.",
        responses=[json(responses.ResponseDeleted)],
        errors={404: _STORED},
    ),
    v1_stored_responses.cancel: Operation(
        id="cancelResponse",
        summary="Stop a response that is generated in the background",
        responses=[json(responses.ModelResponse)],
        errors={400: "response_not_background", 404: _STORED},
    ),
    v1_stored_responses.list_input_items: Operation(
        id="listInputItems",
        summary="List the items of a stored response's input",
        query=[ItemsPage],
        responses=[json(responses.InputItems)],
        errors={400: "cursor_unknown", 404: _STORED},
    ),
    v1_models.list_models: Operation(
        id="listOfferedModels",
        summary="List the models that the caller can use",
        description="Or with `all` every active one that its access token is for. Pages are for "
        "Anthropic's clients.",
        query=[OfferedFilter, OfferedPage],
        responses=[json(openai.OpenAIModelList | anthropic.AnthropicModelList)],
        sent_headers=[_VERSION],
        errors={400: "cursors_exclusive cursor_unknown"},
    ),
    v1_models.get_model: Operation(
        id="getOfferedModel",
        summary="Get a model by its name",
        description="Any name that could be requested, also one that only an alias with `*` matches.",
        responses=[json(openai.OpenAIModel | anthropic.AnthropicModel)],
        sent_headers=[_VERSION],
        errors={403: "model_not_allowed", 404: "unknown_model"},
    ),
}
