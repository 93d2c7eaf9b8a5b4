"""Content types decide the mode, in any case and with any parameters."""

import pytest

from schemas.media_type import is_json, parse_media_type


@pytest.mark.parametrize(
    "text",
    [
        "application/cloudevents",
        "application/cloudevents+json",
        "Application/CloudEvents+JSON; Charset=UTF-8",
        'application/cloudevents+json;profile=x; charset="utf-8"',
        " application/cloudevents+json ;",
        "application/cloudevents+json; charset=utf8",
        "application/cloudevents+json; charset=US-ASCII",
        "application/cloudevents+json; charset='utf-8'",
    ],
)
def test_structured_json_is_recognised(text: str) -> None:
    """Both names of the format, parameters or not."""
    media_type = parse_media_type(text)
    assert media_type.is_structured
    assert media_type.structured_problem is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("application/cloudevents-batch+json", "batch"),
        ("application/cloudevents+avro", "other than JSON"),
        ("application/cloudevents+protobuf; charset=utf-8", "other than JSON"),
        ("application/cloudevents+json; charset=iso-8859-1", "charset"),
    ],
)
def test_structured_formats_other_than_json_have_a_reason(text: str, problem: str) -> None:
    """They are CloudEvents, and are never read in binary mode."""
    media_type = parse_media_type(text)
    assert media_type.is_structured
    assert problem in (media_type.structured_problem or "")


@pytest.mark.parametrize("name", ["application/json", "text/json", "application/vnd.acme+json"])
def test_json_data_types_are_recognised(name: str) -> None:
    """Any type whose subtype is JSON or ends with `+json`."""
    assert is_json(name)


@pytest.mark.parametrize(
    "name", ["", "json", "/json", "application/", "text/plain", "application/jsonl", "application/xml+jsonx"]
)
def test_other_data_types_are_not_json(name: str) -> None:
    """A text that is no media type is not JSON either."""
    assert not is_json(name)


def test_parameters_of_megabytes_are_ignored() -> None:
    """The media type is recognised; parameters after the thirty-second are ignored."""
    media_type = parse_media_type("application/cloudevents+json;" + ";" * 1_000_000 + "charset=utf-7")
    assert media_type.is_structured
    assert media_type.charset is None
    assert parse_media_type("application/cloudevents+json" + ";x=y" * 31 + ";charset=utf-7").charset == "utf-7"
