"""Headers from which two programs could read two different requests are refused."""

import pytest

from worker.gateway.problems import Kind, Refusal
from worker.gateway.request_head import RequestHead


@pytest.mark.parametrize(
    "name",
    ["authorization", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"],
)
def test_repeated_deciding_header_is_refused(name: str) -> None:
    for second in (b"1", b"2"):
        with pytest.raises(Refusal, match=name) as refused:
            RequestHead([(name.title().encode(), b"1"), (name.encode(), second)])
        assert refused.value.status == 400


def test_length_beside_chunks_is_refused() -> None:
    with pytest.raises(Refusal, match="transfer-encoding"):
        RequestHead([(b"content-length", b"2"), (b"transfer-encoding", b"chunked")])


def test_header_that_decides_nothing_may_be_repeated() -> None:
    head = RequestHead([(b"X-Forwarded-For", b"1"), (b"x-forwarded-for", b"2"), (b"accept", b"*/*")])
    assert list(head) == ["x-forwarded-for", "accept"]
    with pytest.raises(Refusal, match="x-forwarded-for"):
        head.raw("x-forwarded-for")


@pytest.mark.parametrize(
    ("length", "read"), [("0", 0), ("1048576", 1048576), ("-1", None), ("1e3", None), ("٣", None), ("", None)]
)
def test_content_length_is_a_number(length: str, read: int | None) -> None:
    assert RequestHead([(b"content-length", length.encode())]).content_length == read
    assert RequestHead([]).content_length is None


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "gzip, identity", "x"])
def test_compressed_body_is_refused(encoding: str) -> None:
    with pytest.raises(Refusal) as refused:
        RequestHead([(b"content-encoding", encoding.encode())]).refuse_encoded()
    assert refused.value.kind is Kind.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize("encoding", [b"identity", b"", b" Identity "])
def test_body_as_it_is_has_no_encoding(encoding: bytes) -> None:
    RequestHead([(b"content-encoding", encoding)]).refuse_encoded()
    RequestHead([]).refuse_encoded()
