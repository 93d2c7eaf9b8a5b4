"""The headers of a request: a header that decides something must not occur twice.

Two programs may take different ones of two headers with one name: a proxy the first, this one the last.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from schemas.media_type import MediaType, parse_media_type
from worker.gateway.problems import Kind, Refusal

_SINGLE = frozenset(
    {b"authorization", b"content-encoding", b"content-length", b"content-type", b"host", b"transfer-encoding"}
)
"""Headers that decide on any request."""


class RequestHead:
    """Names in lower case. Raises Refusal for headers from which two programs could read different requests."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._values: defaultdict[str, list[bytes]] = defaultdict(list)
        for name, value in raw:
            self._values[name.lower().decode("latin-1")].append(value)
        for name_bytes in _SINGLE:
            self.raw(name_bytes.decode())
        if "transfer-encoding" in self._values and "content-length" in self._values:
            raise Refusal(Kind.INVALID_REQUEST, "content-length and transfer-encoding are both present; send one")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> bytes | None:
        """The value; None: the header is missing. Raises Refusal if it is repeated."""
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1:
            raise Refusal(Kind.INVALID_REQUEST, f"the header {name} is repeated; send it once")
        return values[0]

    def text(self, name: str) -> str | None:
        """The value as text; every byte is a character, as in RFC 9110."""
        value = self.raw(name)
        return None if value is None else value.decode("latin-1")

    @property
    def media_type(self) -> MediaType | None:
        text = self.text("content-type")
        return None if text is None else parse_media_type(text)

    @property
    def content_length(self) -> int | None:
        """The declared length of the body in bytes; None: the body is chunked."""
        text = self.text("content-length")
        return int(text) if text is not None and text.isascii() and text.isdigit() else None

    def refuse_encoded(self) -> None:
        """Raise Refusal for a compressed body: no vendor sends one, and a small one can be a large one."""
        encoding = self.text("content-encoding")
        if encoding is not None and encoding.strip().lower() not in {"", "identity"}:
            raise Refusal(Kind.UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not accepted; send it uncompressed")
