"""The tables of docs/reference/asyncapi.md, from the AsyncAPI document."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from schemas.asyncapi import document

_KINDS = {"receive": "the worker reads", "send": "the worker publishes"}


def channels() -> str:
    """One row for each topic."""
    contract = document()
    actions = {
        operation["channel"]["$ref"].rpartition("/")[2]: operation["action"]
        for operation in contract["operations"].values()
    }
    rows = [
        (f"[`{channel['address']}`](#{_anchor(channel)})", _KINDS[actions[name]], channel["summary"])
        for name, channel in contract["channels"].items()
    ]
    return _table(("topic", "direction", "records"), rows)


def topics() -> str:
    """One section for each topic: order, key, messages, headers, an example."""
    contract = document()
    return "\n\n".join(
        "\n\n".join(_section(channel, contract["components"]["messages"])) for channel in contract["channels"].values()
    )


def servers() -> str:
    contract = document()
    schemes = contract["components"]["securitySchemes"]
    rows = []
    for server in contract["servers"].values():
        names = [scheme["$ref"].rpartition("/")[2] for scheme in server.get("security", ())]
        accepted = "; ".join(schemes[name]["description"].rstrip(".") for name in names) or "none"
        rows.append((server["description"], f"`{server['protocol']}`", accepted))
    return _table(("security protocol", "protocol in AsyncAPI", "authentication, one of"), rows)


def _anchor(channel: Mapping[str, Any]) -> str:
    return str(channel["address"]).replace(".", "")


def _section(channel: Mapping[str, Any], messages: Mapping[str, Any]) -> Iterator[str]:
    named = [messages[name] for name in channel["messages"]]
    yield f"### {channel['address']}"
    yield channel["description"]
    configuration = channel["bindings"]["kafka"].get("topicConfiguration", {})
    if configuration:
        values = ", ".join(f"`{name}={','.join(value)}`" for name, value in configuration.items())
        yield f"Topic configuration: {values}."
    keys = {message["bindings"]["kafka"]["key"]["description"] for message in named if "bindings" in message}
    yield "Key: " + " ".join(sorted(keys))
    yield _table(("record", "value in binary mode", "value in structured mode"), _record_rows(named))
    yield "Headers:"
    yield _table(("header", "in", "presence", "value"), _header_rows(named))
    example = next(message for message in named if message.get("examples"))["examples"][0]
    yield "Example:"
    yield "```json\n" + json.dumps({key: example[key] for key in ("headers", "payload")}, indent=2) + "\n```"


def _record_rows(messages: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    """One row for each event type; other records have one form."""
    for message in messages:
        event_type, comma, mode = str(message["title"]).partition(", ")
        if not comma:
            yield event_type, message["payload"].get("description", "null"), ""
        elif mode == "binary mode":
            payload = message["payload"]
            references = [payload] if "$ref" in payload else payload["anyOf"]
            models = " or ".join(f"`{reference['$ref'].rpartition('/')[2]}`" for reference in references)
            yield f"`{event_type}`", models, "the whole event"


def _header_rows(messages: Iterable[Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    """Each header once for each meaning, with the kinds of records that have it."""
    kinds: dict[tuple[str, str, str], dict[str, None]] = {}
    for message in messages:
        headers = message.get("headers", {})
        title = str(message["title"])
        kind = title.rpartition(", ")[2] if title.endswith(" mode") else title.removeprefix("A ")
        for name, schema in headers.get("properties", {}).items():
            presence = "required" if name in headers.get("required", ()) else "optional"
            value = "the type" if name == "ce_type" else _value(schema)
            kinds.setdefault((name, presence, value), {})[kind] = None
    for (name, presence, value), having in kinds.items():
        yield f"`{name}`", ", ".join(having), presence, value


def _value(schema: Mapping[str, Any]) -> str:
    if "description" in schema:
        return str(schema["description"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("format") == "date-time":
        return "RFC 3339, with a zone"
    return f"text, at most {schema['maxLength']} characters"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in (heads, ["---"] * len(heads), *rows))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
