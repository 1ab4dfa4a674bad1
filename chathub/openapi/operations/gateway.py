"""The errors that all requests for models at ``/v1`` have in common."""

from collections.abc import Mapping

Codes = Mapping[int, str]

_FAILURES = (
    "content_filter model_retired model_unavailable upstream_account_limited upstream_blank upstream_blocked "
    "upstream_cut upstream_denied upstream_empty upstream_failed upstream_invalid_key upstream_model_quota "
    "upstream_no_credit upstream_overloaded upstream_rate_limited upstream_refused upstream_unreachable "
    "upstream_timeout upstream_no_response"
)
_UNRESOLVED = (
    "model_disabled provider_disabled api_key_missing api_key_moved api_key_unreadable api_key_refused "
    "shared_api_key_refused local_model_disabled proxy_url_unreadable alias_without_targets base_url_private "
    "model_without_images model_without_tools model_not_for_chat model_of_other_type model_without_path "
    "model_not_for_embeddings embeddings_unsupported"
)
_REQUEST = (
    "arguments_too_large field_case_differs field_repeated field_unsupported other_fields_too_large "
    "too_many_fields too_many_parts kept_elsewhere stored_file_unsupported tool_unsupported "
    "image_address_invalid image_not_accepted image_too_large image_type_mismatch image_undecodable "
    "images_too_large too_many_images"
)


def with_codes(*tables: Codes) -> Codes:
    """Tables of codes as one."""
    statuses = sorted({status for codes in tables for status in codes})
    return {status: " ".join(codes.get(status, "") for codes in tables).strip() for status in statuses}


COUNTING: Codes = {
    400: f"{_REQUEST} {_UNRESOLVED} {_FAILURES}",
    403: "model_not_allowed model_has_no_price",
    404: f"unknown_model model_has_no_key {_FAILURES}",
    413: _FAILURES,
    422: _FAILURES,
    429: f"api_keys_cooling api_keys_pausing api_keys_without_credit {_FAILURES}",
    502: f"{_FAILURES} local_model_disabled",
    503: "too_many_images_sent",
    504: _FAILURES,
}
GATEWAY: Codes = with_codes(
    COUNTING,
    {
        429: "budget_used_up budget_insufficient too_many_replies too_many_replies_of_token "
        "too_many_requests_per_minute too_many_requests_per_minute_of_token too_many_streams",
        502: "reply_too_long",
        503: "not_stored shutdown_interrupted_reply reply_interrupted reply_stopped",
        504: "reply_took_too_long",
        507: "disk_low",
    },
)
