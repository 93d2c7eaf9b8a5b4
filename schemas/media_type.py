"""Content types: whether a record is in structured mode, and whether its data is JSON."""

from typing import NamedTuple

_CLOUDEVENTS = "application/cloudevents"
_PARAMETERS_MAX = 32
"""Further parameters are not read: a header could be megabytes of semicolons."""

_CHARSETS = frozenset({None, "utf-8", "utf8", "us-ascii", "ascii"})
"""The usual names of UTF-8 and of its subset ASCII."""

_JSON_FORMATS = frozenset({_CLOUDEVENTS, _CLOUDEVENTS + "+json"})


class MediaType(NamedTuple):
    """`name`: lower-case, without parameters. `charset`: lower-case, None if missing."""

    name: str
    charset: str | None = None

    @property
    def is_structured(self) -> bool:
        """Whether it is any CloudEvents format, also one that the worker cannot read."""
        return self.name.startswith(_CLOUDEVENTS)

    @property
    def structured_problem(self) -> str | None:
        """Why a structured record cannot be read; None if it is JSON in UTF-8."""
        if self.name.startswith(_CLOUDEVENTS + "-batch"):
            return "content-type: is a batch, which the Kafka binding does not define: send one record an event"
        if self.name not in _JSON_FORMATS:
            return "content-type: is a structured format other than JSON: use application/cloudevents+json"
        if self.charset not in _CHARSETS:
            return "content-type: has a charset other than utf-8"
        return None


def parse_media_type(text: str) -> MediaType:
    """Never raises: other text is a media type that matches nothing."""
    name, *parameters = text.lower().split(";", _PARAMETERS_MAX)
    charset = None
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "charset":
            charset = value.strip().strip("\"'")
    return MediaType(name.strip(), charset)


def is_json(name: str) -> bool:
    """`application/json`, `text/json`, `application/vnd.acme+json`: any type whose subtype is JSON."""
    kind, slash, subtype = name.partition("/")
    return bool(kind and slash) and (subtype == "json" or subtype.endswith("+json"))
