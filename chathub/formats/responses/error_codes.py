"""The code of the error of a response that failed, in the words that OpenAI's clients know."""

# of those which the official client names; the others are of what ChatHub does not offer
_KNOWN = frozenset(
    {
        "server_error",
        "rate_limit_exceeded",
        "invalid_prompt",
        "bio_policy",
        "invalid_image",
        "invalid_image_format",
        "invalid_base64_image",
        "invalid_image_url",
        "image_too_large",
        "image_too_small",
        "image_parse_error",
        "image_content_policy_violation",
        "invalid_image_mode",
        "image_file_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
        "failed_to_download_image",
        "image_file_not_found",
    }
)
# by the status that the error has at ``/v1``; a refused API key of a provider is 502 there
_BY_STATUS = {
    400: "invalid_prompt",
    404: "invalid_prompt",
    413: "invalid_prompt",
    422: "invalid_prompt",
    429: "rate_limit_exceeded",
}


def error_code(status: int, code: object) -> str:
    """The code of an error with a status and its own code, if it has one that clients know."""
    if isinstance(code, str) and code in _KNOWN:
        return code
    return _BY_STATUS.get(status, "server_error")
