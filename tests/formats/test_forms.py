"""Forms with files: what the decoder finds in any pieces, what it refuses, and what the encoder writes."""

import asyncio
import contextlib
import time
from email.parser import BytesParser
from email.policy import HTTP

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chathub.errors import BadRequest, NotForm
from chathub.formats.forms.decode import MOST_PARTS, FormDecoder, Part, boundary_in
from chathub.formats.forms.encode import Extent, FormBody, encode_form
from chathub.formats.masking import StreamMask

Parts = list[tuple[Part, bytes]]


def collected(decoder: FormDecoder, chunks: list[bytes]) -> Parts:
    parts: Parts = []
    for chunk in chunks:
        for piece in decoder.feed(chunk):
            if isinstance(piece, Part):
                parts.append((piece, b""))
            else:
                part, content = parts.pop()
                parts.append((part, content + piece))
    return parts


def decode(body: bytes, boundary: bytes = b"x") -> Parts:
    """The parts of a whole form, which must be the same in one piece and byte by byte."""
    whole, single = FormDecoder(boundary), FormDecoder(boundary)
    parts = collected(whole, [body])
    assert collected(single, [bytes([byte]) for byte in body]) == parts
    assert whole.is_whole and single.is_whole
    return parts


def refused(body: bytes, boundary: bytes = b"x") -> str:
    """The code with which a form is refused, in one piece and byte by byte."""
    codes = []
    for chunks in ([body], [bytes([byte]) for byte in body]):
        with pytest.raises(BadRequest) as caught:
            collected(FormDecoder(boundary), chunks)
        codes.append(caught.value.reason.code)
    assert codes[0] == codes[1]
    return codes[0]


def form(head: bytes, content: bytes = b"c") -> bytes:
    return b"--x\r\n" + head + b"\r\n\r\n" + content + b"\r\n--x--\r\n"


def sent(body: FormBody, kept: bytes = b"") -> bytes:
    """The bytes of an encoded form whose files are in ``kept``."""

    async def read(start: int, size: int) -> bytes:
        return kept[start : start + size]

    async def collect() -> bytes:
        return b"".join([await read(*piece) if isinstance(piece, Extent) else piece for piece in body.pieces])

    data = asyncio.run(collect())
    assert len(data) == body.size
    return data


async def _unused(start: int, size: int) -> bytes:
    raise AssertionError


def test_text_and_file_parts() -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
        b'--x\r\ncontent-disposition:form-data;name=file;filename="a b.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\nRI\r\nFF\r\n--y\r\n--x--\r\n"
    )
    assert decode(body) == [
        (Part("model", None, ""), b"whisper-1"),
        (Part("file", "a b.wav", "audio/wav"), b"RI\r\nFF\r\n--y"),
    ]


def test_preamble_padding_and_epilogue_are_passed_over() -> None:
    body = b'hello\r\n--x \t\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n--x\r\nmore'
    assert decode(body) == [(Part("a", None, ""), b"1")]


@pytest.mark.parametrize("content", [b"", b"\r", b"\r\n", b"\r\n--", b"\n--x", b"\r\n-", b"a--x--", b"\0"])
def test_contents_like_the_beginning_of_a_boundary(content: bytes) -> None:
    assert decode(form(b'Content-Disposition: form-data; name="a"', content))[0][1] == content


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        (b'name="image[]"; filename="cat.png"', "image[]", "cat.png"),
        ('name="a"; filename="猫.png"'.encode(), "a", "猫.png"),
        (b'name="a"; filename="caf\xe9.png"', "a", "café.png"),
        (b'name="a"; filename="x.png"; filename*=UTF-8\'\'%E7%8C%AB.png', "a", "猫.png"),
        (rb'name="a"; filename="say \"hi\" \\ C:\temp.png"', "a", 'say "hi" \\ C:\\temp.png'),
        (b'name="a"; filename=""', "a", ""),
        (b'filename="b" ; name = "a" ', "a", "b"),
    ],
)
def test_names(disposition: bytes, name: str, filename: str) -> None:
    part, _ = decode(form(b"Content-Disposition: form-data; " + disposition))[0]
    assert part == Part(name, filename, "")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"Content-Type: text/plain",
        b'Content-Disposition: attachment; name="a"',
        b"Content-Disposition: form-data",
        b'Content-Disposition: form-data; filename="a"',
        b'Content-Disposition: form-data; name=""',
        b'Content-Disposition: form-data; name="a"; name="b"',
        b'Content-Disposition: form-data; name="a" or so',
        b'Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"',
        b'Content-Disposition: form-data; name="a"\r\n folded: yes',
        b'Content-Disposition: form-data;\r\n name="a"',
        b'Content-Disposition : form-data; name="a"',
        b'Content-Disposition: form-data; name="a\0b"',
        b"Content-Disposition: form-data; name=" + b"a" * 201,
        b'Content-Disposition: form-data; name="a"\r\nX: ' + b"y" * 9000,
    ],
)
def test_a_part_without_a_readable_head_is_refused(head: bytes) -> None:
    assert refused(form(head)) == "form_invalid"


@pytest.mark.parametrize("body", [b"{}" * 1000, b"--xy\r\n\r\n", b"--x\n\n" + b"a" * 9000])
def test_what_is_no_form_is_refused(body: bytes) -> None:
    assert refused(body) == "form_invalid"


def test_an_encoded_part_is_refused() -> None:
    head = b'Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64'
    assert refused(form(head)) == "form_encoded"
    assert decode(form(head.replace(b"base64", b"BINARY"))) == [(Part("a", None, ""), b"c")]


@pytest.mark.parametrize(
    "rest",
    [
        b'Content-Disposition: form-data; name="a"; filename="%b"' % (b" " * 8_000),
        b'Content-Disposition: form-data; name="a"%b;b' % (b" " * 8_000),
        b'Content-Disposition: form-data; name="a"\r\nContent-Type: a/b%b;' % (b" " * 8_000),
        b'Content-Disposition: form-data; name="%b"' % (b"\\a" * 3_999),
        b"X: a%bb" % (b" " * 8_000),
    ],
)
def test_a_head_made_to_be_slow_is_read_in_one_pass(rest: bytes) -> None:
    """In many passes each takes half a second."""
    began = time.process_time()
    for _ in range(50):
        with contextlib.suppress(BadRequest):
            collected(FormDecoder(b"x"), [form(rest)])
    assert time.process_time() - began < 2


def test_too_many_parts_are_refused() -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    assert len(decode(part * MOST_PARTS + b"--x--")) == MOST_PARTS
    assert refused(part * (MOST_PARTS + 1) + b"--x--") == "form_too_many_parts"


def test_a_form_without_its_end_is_not_whole() -> None:
    decoder = FormDecoder(b"x")
    decoder.feed(form(b'Content-Disposition: form-data; name="a"').removesuffix(b"--\r\n"))
    assert not decoder.is_whole


def test_only_a_media_type_is_a_media_type() -> None:
    head = b'Content-Disposition: form-data; name="a"\r\nContent-Type: '
    assert decode(form(head + b"audio/ogg; codecs=opus"))[0][0].content_type == "audio/ogg; codecs=opus"
    for wrong in (b"audio", b"text/plain\x01", b"audio/wav; x", b'a/b; c="d\xe9"'):
        assert decode(form(head + wrong))[0][0].content_type == ""


def test_the_decoder_keeps_no_content() -> None:
    decoder = FormDecoder(b"x")
    decoder.feed(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n')
    for _ in range(100):
        pieces = decoder.feed(b"a" * 65_536)
        assert sum(map(len, pieces)) >= 65_536 - 5


@pytest.mark.parametrize(
    ("header", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ("Multipart/Form-Data;BOUNDARY=abc", b"abc"),
        ('multipart/form-data; charset=utf-8; boundary="a b:c"', b"a b:c"),
        (
            "multipart/form-data; boundary=----WebKitFormBoundaryAbc; charset=utf-8",
            b"----WebKitFormBoundaryAbc",
        ),
    ],
)
def test_boundaries(header: str, boundary: bytes) -> None:
    assert boundary_in(header) == boundary


@pytest.mark.parametrize(
    "header",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        'multipart/form-data; boundary="a "',
        "multipart/form-data; boundary=" + "a" * 71,
        "multipart/form-data; boundary=ä",
        "multipart/mixed; boundary=abc",
        "text/plain; boundary=abc",
    ],
)
def test_missing_boundaries_are_refused(header: str) -> None:
    with pytest.raises(NotForm):
        boundary_in(header)


names = st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() and "\\" not in text)
contents = st.lists(st.sampled_from([b"\r\n", b"--", b"x", b"\0", b"--x", b"text"]), max_size=12).map(
    b"".join
)


@settings(deadline=None)
@given(st.lists(st.tuples(names, st.none() | names, contents), max_size=6), st.randoms(use_true_random=False))
def test_what_is_encoded_is_decoded(fields: list[tuple[str, str | None, bytes]], random: object) -> None:
    """Files at any places, and cut anywhere; quotes come back as browsers write them."""
    kept, parts, expected = b"", [], []
    for name, filename, content in fields:
        part = Part(name, filename, "audio/wav" if filename is not None else "")
        extent = Extent(len(kept), len(content))
        parts.append((part, content if filename is None else extent))
        kept += content
        quoted = [None if text is None else text.replace('"', "%22") for text in (name, filename)]
        expected.append((Part(str(quoted[0]), quoted[1], part.content_type), content))
    body = encode_form(parts, _unused)
    data = sent(body, kept)
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(4))  # type: ignore[attr-defined]
    chunks = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    decoder = FormDecoder(boundary_in(body.content_type))
    assert collected(decoder, chunks) == expected
    assert decoder.is_whole


@pytest.mark.parametrize(
    "name", ['a"; name="model', "a\r\nX-Evil: 1\r\n\r\nmodel", "a\nb", "a\\", "a\u2028b", "a\x85b", "\0"]
)
def test_a_file_name_cannot_write_headers(name: str) -> None:
    data = sent(encode_form([(Part("file", name, ""), b"c"), (Part("model", None, ""), b"m")], _unused))
    head = data.split(b"\r\n\r\n")[0].split(b"\r\n", 1)[1]
    parsed = BytesParser(policy=HTTP).parsebytes(head + b"\r\n\r\n")
    assert parsed.keys() == ["Content-Disposition", "Content-Type"]
    disposition = parsed["Content-Disposition"]
    assert sorted(disposition.params) == ["filename", "name"] and disposition.params["name"] == "file"
    assert [part.name for part, _ in decode(data, data.split(b"\r\n")[0][2:])] == ["file", "model"]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([b"sk-secret-0123456789abcdef", b"sk-sec", b"s", b"xyz", b"\0"]), max_size=12)
)
def test_a_key_is_masked_wherever_pieces_end(pieces: list[bytes]) -> None:
    key, data = "sk-secret-0123456789abcdef", b"".join(pieces)
    expected = data.replace(key.encode(), b"*" * len(key))
    for chunks in (pieces, [data], [bytes([byte]) for byte in data]):
        mask = StreamMask(key)
        assert b"".join([mask.feed(chunk) for chunk in chunks]) + mask.end() == expected
