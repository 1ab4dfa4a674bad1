"""Examples of bodies of requests, by the id of their operation. Names, secrets and addresses are made up."""

from collections.abc import Mapping

from chathub.schemas.json import JsonObject

_QUESTION: JsonObject = {"model": "example-chat", "messages": [{"role": "user", "content": "Hello"}]}
_TARGETS = [{"model_name": "example-large", "weight": 3}, {"model_name": "example-small", "order": 1}]

EXAMPLES: Mapping[str, JsonObject] = {
    "createModel": {
        "model_name": "example-chat",
        "display_name": "Example Chat",
        "model_provider": "example",
        "max_tokens": 8192,
        "input_price_per_1k": 0.5,
        "output_price_per_1k": 1.5,
    },
    "updateModel": {"display_name": "Example", "targets": _TARGETS},
    "reorderModels": {"model_orders": [{"id": 1, "sort_order": 0}, {"id": 2, "sort_order": 1}]},
    "createProvider": {
        "provider_key": "example",
        "display_name": "Example",
        "default_base_url": "https://api.example.com/v1",
    },
    "updateProvider": {"default_base_url": "https://api.example.com/v2", "proxy_url": None},
    "importModels": {"models": ["example-chat", "example-embedding"]},
    "login": {"username": "somebody", "password": "<password>"},
    "sendVerificationCode": {"email": "somebody@example.com"},
    "register": {
        "username": "somebody",
        "email": "somebody@example.com",
        "password": "<password>",
        "invite_code": "<invite code>",
    },
    "createUser": {"username": "somebody", "email": "somebody@example.com", "password": "<password>"},
    "createInvite": {"note": "for the family", "max_uses": 3},
    "chat": {"message": "Hello", "model": "example-chat"},
    "streamChat": {
        "message": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "https://example.com/image.png"}},
        ],
        "model": "example-chat",
        "conversation_id": "c1",
        "resumable": True,
    },
    "stopReply": {"message_id": 4},
    "savePartialReply": {"conversation_id": "c1", "content": "Hello, wor"},
    "updateConversation": {"title": "Another title"},
    "regenerateReply": {"model": "example-large"},
    "editMessage": {"content": "Another question"},
    "saveApiKey": {"model_provider": "example", "api_key": "<the provider's key>", "label": "first"},
    "updateApiKey": {"priority": 10, "is_active": True},
    "testApiKey": {"model": "example-chat"},
    "updateSubscription": {"usage_limit": 2_000_000, "cost_limit": None},
    "updateProfile": {"password": "<new password>", "current_password": "<password>"},
    "updateUser": {"role": "admin", "cost_limit": 10},
    "createAccessToken": {"name": "laptop", "expires_in_days": 90, "allowed_networks": ["10.0.0.0/8"]},
    "createChatCompletion": {**_QUESTION, "stream": True},
    "createMessage": {**_QUESTION, "max_tokens": 1000},
    "countMessageTokens": _QUESTION,
    "createResponse": {"model": "example-chat", "input": "Hello", "store": True},
    "countInputTokens": {"model": "example-chat", "input": "Hello"},
    "createEmbedding": {"model": "example-embedding", "input": ["Hello"]},
    "createCompletion": {"model": "example-completion", "prompt": "Once"},
    "createImage": {"model": "example-image", "prompt": "a house", "n": 1},
    "createImageEdit": {
        "model": "example-image",
        "prompt": "the same at night",
        "images": [{"image_url": "https://example.com/image.png"}],
    },
    "rerank": {"model": "example-rerank", "query": "cats", "documents": ["about cats", "about dogs"]},
    "createModeration": {"model": "example-moderation", "input": "Hello"},
    "createSpeech": {"model": "example-audio", "input": "Hello", "voice": "example"},
}
