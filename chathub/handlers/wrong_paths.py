"""What a program reads that called a path which does not exist: mostly its base URL is wrong."""

import re

from aiohttp import web
from msgspec import Struct

from chathub.handlers.http import speaks_anthropic
from chathub.sentences import Param, Reason

_SLASHES = re.compile(r"/{2,}")
# longer paths are not repeated
_LONGEST = 200
_MESSAGES = "/v1/messages"
# tails of OpenAI's API that are not here; with them it is a program that called
_OTHER_TAILS = ("/completions",)


class WrongPath(Struct, frozen=True):
    """The error of a program's request for an unknown path. ``is_anthropic``: in the shape of Anthropic's
    clients, else in OpenAI's."""

    reason: Reason
    is_anthropic: bool


def wrong_path(request: web.Request) -> WrongPath | None:
    """What to tell a program about an unknown path; None for paths that are no program's."""
    paths = _paths_of(request.app)
    path = _SLASHES.sub("/", request.path)
    if path.lower().startswith("/api/") and not path.startswith("/api/v1/"):
        return None
    meant = _meant(path, paths)
    is_program = path == "/v1" or path.startswith("/v1/") or path.endswith(_OTHER_TAILS)
    if meant is None and not is_program:
        return None
    code = "unknown_path" if meant is None else _mistake(path, meant)
    named: dict[str, Param] = {
        "path": request.path[:_LONGEST],
        "paths": [*paths],
        "meant": meant or "",
        # Anthropic's clients add /v1 themselves
        "base": Reason("address_without_v1" if meant == _MESSAGES else "address_with_v1"),
    }
    is_anthropic = meant == _MESSAGES or path.startswith(_MESSAGES) or speaks_anthropic(request)
    return WrongPath(Reason(code, named), is_anthropic)


def _paths_of(app: web.Application) -> list[str]:
    found = (resource.canonical for resource in app.router.resources())
    return list(dict.fromkeys(path for path in found if path.startswith("/v1/")))


def _meant(path: str, paths: list[str]) -> str | None:
    """The path that has the same end."""
    path = path.rstrip("/")
    ends = (known for known in paths if "{" not in known and path.endswith(known.removeprefix("/v1")))
    return next(ends, None)


def _mistake(path: str, meant: str) -> str:
    """The code of what is wrong with the base URL."""
    if path.rstrip("/") == meant:
        return "base_url_slash"
    if "/v1/v1/" in path or path.count("/v1/") > 1:
        return "base_url_doubled_v1"
    return "base_url_without_v1" if path.rstrip("/") == meant.removeprefix("/v1") else "base_url_wrong"
