"""Content types, as far as the envelope asks: is it structured mode, and is the data JSON."""

from typing import NamedTuple

_CLOUDEVENTS = "application/cloudevents"
_PARAMETERS_MAX = 32
"""How many are looked at: nobody writes so many, and a header may be megabytes of semicolons."""

_CHARSETS = frozenset({None, "utf-8", "utf8", "us-ascii", "ascii"})
"""UTF-8 by its usual names, and its subset."""

_JSON_FORMATS = frozenset({_CLOUDEVENTS, _CLOUDEVENTS + "+json"})


class MediaType(NamedTuple):
    """`name` is lower-case and without parameters; `charset` likewise, None where none is given."""

    name: str
    charset: str | None = None

    @property
    def is_structured(self) -> bool:
        """Any CloudEvents format, those that the worker cannot read too."""
        return self.name.startswith(_CLOUDEVENTS)

    @property
    def structured_problem(self) -> str | None:
        """Why a structured record cannot be read; None where it is JSON in UTF-8."""
        if self.name.startswith(_CLOUDEVENTS + "-batch"):
            return "content-type: is a batch, which the Kafka binding does not have"
        if self.name not in _JSON_FORMATS:
            return "content-type: is a structured format other than JSON"
        if self.charset not in _CHARSETS:
            return "content-type: has a charset other than utf-8"
        return None


def parse_media_type(text: str) -> MediaType:
    """Never fails: what is no media type is simply none of those that are asked for."""
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
