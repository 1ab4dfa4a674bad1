"""What names and headers tell: hashes, media types, paths that are refused, what a client accepts."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chathub.frontend.negotiation import accepts_html, best_codings
from chathub.frontend.paths import is_asset, is_hashed, is_reserved, media_type, names_in
from chathub.frontend.policy import handlers_in, page_policy, script_addresses

HASHED = [
    "index-CkXG6ZsP.js",  # Vite 5
    "index-4e8e6c1d.js",  # Vite 4
    "index-B-x_Z1aQ.css",
    "index-BdQXqXoQ.js",
    "main.4f2a1b3c.js",
    "main.4f2a1b3c.chunk.js",
    "index-CkXG6ZsP.js.map",
    "framework-64ad27b21261a9ce.js",  # Next
    "main-5QWUBAM2.js",  # Angular, esbuild
    "BdnX9Xoq.js",  # Nuxt
    "logo.8f3d2a1b9c0e4f5d6a7b.png",
]
NOT_HASHED = [
    "index.html",
    "app.js",
    "vendor-components.js",
    "polyfills-legacy.js",
    "report-20240101.pdf",
    "jquery-3.7.1.min.js",
    "inter-latin400.woff2",
    "app-MyWidget.js",
    "CHANGELOG.md",
    "service-worker.js",
    "apple-touch-icon-180x180.png",
    "deadbeef",
    "favicon.ico",
]


@pytest.mark.parametrize("name", HASHED)
def test_hash_in_the_name_is_recognised(name: str) -> None:
    assert is_hashed(name)


@pytest.mark.parametrize("name", NOT_HASHED)
def test_word_or_date_in_the_name_is_no_hash(name: str) -> None:
    assert not is_hashed(name)


def test_media_types_do_not_depend_on_the_machine() -> None:
    assert media_type("a.js") == media_type("a.MJS") == "text/javascript; charset=utf-8"
    assert media_type("a.svg") == "image/svg+xml; charset=utf-8"
    assert media_type("a.woff2") == "font/woff2"
    assert media_type("a.unknown") == media_type("a") == "application/octet-stream"


def test_only_the_ending_of_a_file_makes_an_asset() -> None:
    assert is_asset("a.js") and is_asset("a.PNG")
    assert not is_asset("gpt-4.1") and not is_asset("chat")


@pytest.mark.parametrize("path", ["/", "/chat", "/apis", "/v1.html", "/documents", "/a/api"])
def test_other_first_segments_are_free(path: str) -> None:
    assert not is_reserved(path)


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/API/x", "//api/x", "/v1/x", "/%61pi/x", "/docs", "/openapi.json", "/metrics"]
)
def test_first_segments_of_the_api_are_reserved_however_written(path: str) -> None:
    assert is_reserved(path)


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/a/../../secret",
        "/%2e%2e/secret",
        "/%2E./secret",
        "/./a",
        "/a//b",
        "//etc/passwd",
        "/a%2fb",
        "/a%5cb",
        "/a\\b",
        "/a%00.js",
        "/a%0a",
        "/.env",
        "/assets/.git/config",
        "/a%ff",
        "/a\udcff",
        "/" + "a" * 256,
        "/" + "a/" * 600,
        "a",
        "",
        "*",
    ],
)
def test_tricks_with_paths_name_no_file(path: str) -> None:
    assert names_in(path) is None


def test_names_are_decoded_and_a_last_slash_is_left_out() -> None:
    assert names_in("/") == []
    assert names_in("/assets/%E4%BD%A0%20a.js") == ["assets", "你 a.js"]
    assert names_in("/chat/") == ["chat"]


@given(st.text(max_size=300))
def test_no_path_names_anything_outside(text: str) -> None:
    for path in (f"/{text}", "/" + quote(text, safe=""), "/" + quote(text)):
        for name in names_in(path) or []:
            assert name and not name.startswith(".") and not {"/", "\\", "\0"} & {*name}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("application/json, Text/HTML;q=0.5", True),
        ("text/html;level=1", True),
        ("*/*", False),
        ("text/*", False),
        ("text/html;q=0", False),
        ("text/html;q=nan", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_page_is_only_for_clients_that_name_html(accept: str, expected: bool) -> None:
    assert accepts_html(accept) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip, deflate, br, zstd", ["br", "gzip"]),
        ("gzip;q=1.0, br;q=0.5", ["gzip", "br"]),
        ("br;q=0, gzip", ["gzip"]),
        ("*", ["br", "gzip"]),
        ("*;q=0", []),
        ("gzip, *;q=0", ["gzip"]),
        ("identity, gzip;q=0.5", []),
        ("GZIP", ["gzip"]),
        ("gzip;q=x", []),
        ("gzip;q=7", []),
        ("deflate", []),
        ("", []),
    ],
)
def test_coding_is_chosen_by_its_weight(header: str, expected: list[str]) -> None:
    assert best_codings(header, ["br", "gzip"]) == expected


@given(st.text(max_size=60))
def test_any_header_is_read_without_an_error(header: str) -> None:
    accepts_html(header)
    assert set(best_codings(header, ["br", "gzip"])) <= {"br", "gzip"}


def test_policy_allows_inline_scripts_of_the_page_and_handlers_of_its_scripts() -> None:
    html = '<script src="/a-1.js"></script><script>\r\nx()\r</script>'
    policy = page_policy(
        html, handlers_in('`<b onclick="copy(this)">${x}</b>`, "<i onclick=\\"copy(this)\\">"')
    )
    # sha256 of "\nx()\n", and of "copy(this)"
    assert "'sha256-F4wm3/HuV6MrPWziU0ZEzTNInvfl5dk7Nc+6nvtdZFo='" in policy
    assert policy.count("sha256-") == 2 and "'unsafe-hashes'" in policy
    script = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe-inline" not in script and "unsafe-eval" not in script and "*" not in script


def test_handler_with_a_part_put_in_later_is_not_allowed() -> None:
    assert handlers_in('`<b onclick="go(${x})"><i moon="rise()">`') == set()
    assert "sha256" not in page_policy()


def test_scripts_of_a_page_are_found() -> None:
    html = (
        '<script type="module" crossorigin src="/assets/a.js"></script>'
        "<link rel=modulepreload href=/assets/b.mjs><link rel=stylesheet href='/c.css'>"
    )
    assert script_addresses(html) == ["/assets/a.js", "/assets/b.mjs"]
