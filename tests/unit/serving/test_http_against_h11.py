"""Our reading of HTTP/1.1 against h11's, over generated requests: h11's refusals are ours, and what both accept both read alike.

The pieces are the known shapes of request smuggling: both lengths, folded lines, spaces before a colon, bare CR and LF, repeated
and odd lengths, odd transfer codings, control characters, chunk extensions, bad sizes. Two differences are on purpose: ours is
stricter (it may refuse what h11 accepts), and it ignores an empty line before a request (RFC 9112, 2.2), outside of parse_head.
"""

from __future__ import annotations

from dataclasses import dataclass

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from littoral_node.serving.http.errors import HttpError
from littoral_node.serving.http.http1 import MAX_HEAD_BYTES, Chunks, parse_head

MOST = 100_000
ANY = st.binary(max_size=6)
METHODS = st.sampled_from([b"GET", b"POST", b"get", b"P\xd6ST", b"G ET", b"", b"\x00GET", b"GET\t", b"GE(T", b"OPTIONS"]) | ANY
TARGETS = st.sampled_from(
    [b"/", b"/v2", b"/a%2Fb?x=1", b"*", b"http://node/v2", b"v2", b"/a b", b"/\x7f", b"/\x80", b"/\t", b"", b"/%", b"/x\r"]
) | st.integers(MAX_HEAD_BYTES - 200, MAX_HEAD_BYTES + 200).map(lambda size: b"/" + b"a" * size)
VERSIONS = st.sampled_from(
    [b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b"HTTP/11", b""]
)
NAMES = st.sampled_from(
    [b"Host", b"Content-Length", b"content-length", b"Transfer-Encoding", b"Connection", b"Expect", b"X-A"] * 3
    + [
        b"Content-Length ",
        b" Content-Length",
        b"Content-Length\t",
        b"Content_Length",
        b"Transfer-Encoding\x0b",
        b"X\x00",
        b"",
        b"\xe9",
    ]
)
VALUES = (
    st.sampled_from(
        [
            b"node",
            b"0",
            b"3",
            b"5",
            b"005",
            b"+5",
            b"-1",
            b"5, 5",
            b"5,6",
            b"0x5",
            b"5 5",
            b"\xb2",
            b"9" * 14,
            b"9" * 21,
            b"chunked",
            b"Chunked",
            b"chunked, chunked",
            b"gzip, chunked",
            b", chunked",
            b"chunked,",
            b"xchunked",
            b"identity",
            b"\x0bchunked",
            b"chunked\x00",
            b"a\rb",
            b"a\nb",
            b"a\r\n b",
            b"a\r\n\tchunked",
            b"a\x01b",
            b"\x7f",
            b"\xe9",
            b"close",
            b"100-continue",
            b"",
        ]
    )
    | ANY
)
SEPARATORS = st.sampled_from([b": "] * 6 + [b":", b":\t", b" : ", b":\x0b", b"=", b""])
ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"\r\n ", b"\n\r\n"])
LINES = st.tuples(NAMES, SEPARATORS, VALUES, ENDS).map(b"".join)
HEADS = st.builds(
    lambda method, target, version, end, host, lines: (
        b" ".join((method, target, version)) + end + host + b"".join(lines) + b"\r\n"
    ),
    METHODS,
    TARGETS,
    VERSIONS,
    ENDS,
    st.sampled_from([b"Host: node\r\n"] * 5 + [b"", b"Host: node\r\nHost: node\r\n", b"Host: a b\r\n"]),
    st.lists(LINES, max_size=4),
)
SIZES = st.sampled_from(
    [b"1", b"3", b"03", b"A", b"a", b"0", b"", b"+3", b"-1", b"0x3", b" 3", b"3 ", b"3\t", b"g", b"f" * 9, b"f" * 21, b"3_0"]
)
EXTENSIONS = st.sampled_from(
    [b""] * 5 + [b";x", b";x=y", b' ;x="a"', b";" + b"x" * 300, b";\x00", b";\r", b";\n", b"\x0b", b" x"]
)
CHUNKS = st.builds(
    lambda size, extension, end, data, after: size + extension + end + data + after,
    SIZES,
    EXTENSIONS,
    ENDS,
    st.sampled_from([b"abc", b"a", b"abcdefghij", b""]),
    ENDS,
)
GOOD_CHUNKS = st.sampled_from([b"3\r\nabc\r\n", b"1;x=y\r\na\r\n", b"A\r\nabcdefghij\r\n"])
TRAILERS = st.sampled_from(
    [b"0\r\n\r\n"] * 4
    + [b"0\r\nX: y\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"0\r\n\r\r\n", b"0\n\n", b"00\r\n\r\n", b"0\r\n X\r\n\r\n", b"0;e\r\n\r\n"]
)


@dataclass(frozen=True, slots=True)
class Read:
    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes
    rest: bytes


class Refused(Exception):
    pass


class Unfinished(Exception):
    pass


def h11_reads(sent: bytes) -> Read:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(sent)
    try:
        request = connection.next_event()
        if request is h11.NEED_DATA:
            raise Unfinished
        assert isinstance(request, h11.Request)
        body = b""
        while isinstance(event := connection.next_event(), h11.Data):
            body += event.data
        if event is h11.NEED_DATA:
            raise Unfinished
    except h11.RemoteProtocolError as error:
        raise Refused(str(error)) from error
    headers: dict[bytes, bytes] = {}
    for name, value in request.headers:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return Read(request.method, request.target, headers, body, connection.trailing_data[0])


def we_read(sent: bytes) -> Read:
    end = sent.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES + 4)
    if end < 0:
        raise Refused if len(sent) > MAX_HEAD_BYTES + 4 else Unfinished
    try:
        head = parse_head(sent[:end])
        at = end + 4
        if head.length is None:
            at, body = Chunks(MOST).read(sent, at)
            if body is None:
                raise Unfinished
        else:
            if head.length > len(sent) - at:
                raise Unfinished
            body = bytearray(sent[at : at + head.length])
            at += head.length
    except HttpError as error:
        raise Refused(error.message) from error
    target = sent.split(b" ", 2)[1]
    assert target.partition(b"?")[0].endswith(head.path.encode("latin-1"))
    headers = {name.encode("latin-1"): value.encode("latin-1") for name, value in head.headers.items()}
    return Read(head.method.encode(), target, headers, bytes(body), sent[at:])


def compare(sent: bytes) -> str:
    try:
        ours = we_read(sent)
    except Refused:
        return "refused"  # stricter than another is no harm
    except Unfinished:
        return "unfinished"
    theirs = h11_reads(sent)  # raises where h11 refuses what we accepted, or waits for more
    assert (ours.method, ours.target, ours.body, ours.rest) == (theirs.method, theirs.target, theirs.body, theirs.rest)
    coding = b"transfer-encoding"
    assert {**ours.headers, **({coding: ours.headers[coding].lower()} if coding in ours.headers else {})} == theirs.headers
    return "read"


@settings(max_examples=1_500, deadline=None)
@given(HEADS, st.binary(max_size=12))
@example(b"POST / HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: , chunked\r\n\r\n", b"0\r\n\r\n")
@example(b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\n\r\nG")
@example(b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length : 5\r\n\r\n", b"abcde")
@example(b"POST / HTTP/1.1\r\nHost: node\r\nX: a\r\n Content-Length: 5\r\n\r\n", b"abcde")
def test_heads(head: bytes, rest: bytes) -> None:
    compare(head + rest)


@settings(max_examples=1_500, deadline=None)
@given(st.lists(GOOD_CHUNKS | CHUNKS, max_size=4).map(b"".join), TRAILERS, st.binary(max_size=6))
@example(b"3 ;x\r\nabc\r\n", b"0\r\n\r\n", b"")
@example(b"3;x\n\r\nabc\r\n", b"0\r\n\r\n", b"")
def test_bodies_in_chunks(chunks: bytes, trailer: bytes, rest: bytes) -> None:
    compare(b"POST /v2 HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + trailer + rest)


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        (b"GET /v2?x HTTP/1.1\r\nHost: node\r\nX: a\r\nX: b\r\n\r\n", "read"),
        (b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 3\r\n\r\nabcGET", "read"),
        (b"POST / HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\nGET", "read"),
        (b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "refused"),
        (b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "refused"),
        (b"POST / HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: , chunked\r\n\r\n0\r\n\r\n", "refused"),
        (b"POST / HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n3 ;x\r\nabc\r\n0\r\n\r\n", "refused"),
        (b"GET / HTTP/1.1\nHost: node\r\n\r\n", "refused"),
        (b"GET / HTTP/1.1\r\nHost: node\r\n X: folded\r\n\r\n", "refused"),
    ],
)
def test_known_shapes(sent: bytes, outcome: str) -> None:
    assert compare(sent) == outcome
