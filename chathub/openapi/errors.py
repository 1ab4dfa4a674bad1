"""The codes of errors that an operation may respond with besides its own, by the kind of the operation."""

from collections.abc import Iterator, Mapping

from chathub.openapi.operation import Operation
from chathub.openapi.operations.gateway import GATEWAY
from chathub.routes import ADMIN, PUBLIC, V1, Route

Codes = Mapping[int, str]

_EVERY: Codes = {
    400: "malformed_request invalid_request",
    404: "not_found",
    415: "body_compressed content_type_unsupported",
    417: "expectation_unsupported",
    421: "host_refused",
    429: "too_many_downloads",
    500: "internal_error",
    503: "database_damaged database_failed database_full database_locked database_missing database_read_only "
    "server_busy server_stopping",
}
_SIGNED_IN: Codes = {
    401: "login_required token_invalid access_token_invalid session_expired session_ended session_too_old "
    "account_changed demo_token_disabled",
    403: "token_scope_refused token_network_refused",
}
_ADMIN: Codes = {403: "admin_required"}
_PROGRAM: Codes = {401: "tokens_differ"}
_FIELDS: Codes = {
    400: "field_required field_wrong_type field_wrong_value field_value_unknown field_invalid field_empty "
    "field_too_long field_too_short field_out_of_range field_too_large field_too_small field_has_nul "
    "field_unlike_example list_empty list_too_long list_too_short date_invalid"
}
_BODY: Codes = {
    400: "json_invalid body_not_object body_incomplete body_timeout too_many_values field_too_many_bytes",
    413: "body_too_large request_too_large",
    415: "body_not_json",
    429: "too_many_bodies",
    503: "request_memory_full",
}
_FORM: Codes = {
    400: "form_invalid form_incomplete form_encoded form_too_many_parts body_incomplete body_timeout",
    413: "body_too_large form_texts_too_large",
    415: "form_boundary_missing",
    429: "too_many_bodies too_many_uploads",
    503: "request_memory_full uploads_full",
    507: "disk_low",
}
_SHARED = (_EVERY, _SIGNED_IN, _ADMIN, _FIELDS, _BODY)
_SHARED_BY_PROGRAMS = (_EVERY, _SIGNED_IN, _PROGRAM, _FIELDS, _BODY, _FORM, GATEWAY)


def shared_codes(status: int, *, is_program: bool) -> list[str]:
    """The codes that operations of ``/api``, or those for programs, have in common at a status."""
    tables = _SHARED_BY_PROGRAMS if is_program else _SHARED
    return [*dict.fromkeys(code for codes in tables for code in codes.get(status, "").split())]


def statuses_of(route: Route, operation: Operation) -> list[int]:
    """Every status but 200 that an operation may respond with, in order."""
    found = {status for codes in _kinds_of(route, operation) for status in codes}
    if "{" not in route.path:
        found.discard(404)
    return sorted(found | set(operation.errors))


def _kinds_of(route: Route, operation: Operation) -> Iterator[Codes]:
    yield _EVERY
    if route.access != PUBLIC:
        yield _SIGNED_IN
    if route.access == ADMIN:
        yield _ADMIN
    if route.access == V1:
        yield _PROGRAM
    if operation.query:
        yield _FIELDS
    if operation.body is not None:
        yield from (_FIELDS, _BODY)
    if operation.form:
        yield _FORM
