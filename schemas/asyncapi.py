"""The published AsyncAPI 3.1 document, generated from the models: `python -m schemas.asyncapi [--check]`.

`schemas/asyncapi.json` describes topics, keys, order, content modes, headers, examples and security, from the worker's
point of view: it receives what publishers send. The names of topics are the defaults of the settings.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.asyncapi_messages import (
    KAFKA_BINDING,
    component_schemas,
    dead_letter_message,
    foreign_message,
    message_name,
    messages_of,
    tombstone_message,
)
from schemas.released import stated_version
from schemas.types import EventType, StateEventType, StatusEventType

FILE = Path(__file__).with_name("asyncapi.json")

_ONCE = "At least once: deduplicate by the CloudEvents `id`; the same change always has the same `id`."
_VERSION = "Keep the highest `release_version` of each release and deployment, and drop what is not higher."
_SASL = ("saslPlain", "saslScram256", "saslScram512", "saslOauthbearer", "saslGssapi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A topic. `setting`: names it. `types`: the event types on it, each in both content modes. `messages`: others, by
    name.
    """

    name: str
    address: str
    setting: str
    action: str
    summary: str
    description: str
    types: Sequence[str] = ()
    messages: Mapping[str, Callable[[], Mapping[str, Any]]] = field(default_factory=dict)
    topic_configuration: Mapping[str, Any] = field(default_factory=dict)


CHANNELS = (
    Channel(
        name="deployment-events",
        address="rudder.deployment-events",
        setting="RUDDER_INPUT_TOPICS",
        action="receive",
        summary="Events about releases and deployments, from pipelines.",
        description="Every input topic accepts every event type. Send the release id as key: order is kept per release "
        "within one partition. An event's identity is (`source`, `id`), forever. Unknown fields are ignored. A record "
        "that can never succeed becomes a dead letter; a record with a null value is skipped.",
        types=tuple(EventType),
        messages={"foreign": foreign_message},
    ),
    Channel(
        name="deployment-status",
        address="rudder.deployment-status",
        setting="RUDDER_DEPLOYMENT_STATUS_TOPIC",
        action="send",
        summary="Each change of a deployment's status.",
        description=f"In order per release. {_ONCE} {_VERSION}",
        types=(StatusEventType.DEPLOYMENT_STATUS_CHANGED,),
    ),
    Channel(
        name="release-status",
        address="rudder.release-status",
        setting="RUDDER_RELEASE_STATUS_TOPIC",
        action="send",
        summary="Each change of a release's status.",
        description=f"In order per release. {_ONCE} {_VERSION}",
        types=(StatusEventType.RELEASE_STATUS_CHANGED,),
    ),
    Channel(
        name="deployment-state",
        address="rudder.deployment-state",
        setting="RUDDER_DEPLOYMENT_STATE_TOPIC",
        action="send",
        summary="The current deployment of each environment, for subscribers that start late.",
        description="Compacted: the last record of a key is the present state. In order per environment, at least "
        "once. Drop a record whose `release_version` is not higher than that of the state that you have. A tombstone "
        "ends the state: the release was deleted.",
        types=tuple(StateEventType),
        messages={"tombstone": tombstone_message},
        topic_configuration={"cleanup.policy": ["compact"]},
    ),
    Channel(
        name="dead-letters",
        address="rudder.dead-letters",
        setting="RUDDER_DEAD_LETTER_TOPIC",
        action="send",
        summary="Records that can never succeed, with the reason.",
        description="The key, value and headers of the rejected record, and further headers. At least once: "
        "deduplicate by `rudder-id`.",
        messages={"dead-letter": dead_letter_message},
    ),
)


def document() -> Mapping[str, Any]:
    """The whole document, as JSON values."""
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "rudder-worker",
            "version": stated_version(),
            "description": "Consumes CloudEvents 1.0 about releases and deployments from Kafka, records them in a "
            "database, and publishes each change of a status. Types and versions: an event type is never changed "
            "incompatibly; a changed meaning is a new type. Read openly: a later version may add fields.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": {_operation_name(channel): _operation(channel) for channel in CHANNELS},
        "components": {
            "schemas": component_schemas(),
            "messages": {name: message for channel in CHANNELS for name, message in _messages(channel).items()},
            "securitySchemes": _security_schemes(),
        },
    }


def document_text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str], file: Path = FILE) -> int:
    """Write the file; with `--check` only compare it. Exit code: 0 success, 1 stale, 2 wrong usage."""
    match list(arguments):
        case []:
            file.write_text(document_text(), encoding="utf-8")
            return 0
        case ["--check"]:
            if file.exists() and file.read_text(encoding="utf-8") == document_text():
                return 0
            sys.stdout.write("stale: schemas/asyncapi.json\n")
            return 1
        case _:
            sys.stderr.write("usage: python -m schemas.asyncapi [--check]\n")
            return 2


def _messages(channel: Channel) -> Mapping[str, Any]:
    return {**messages_of(channel.types), **{name: make() for name, make in channel.messages.items()}}


def _message_names(channel: Channel) -> Sequence[str]:
    modes = ("binary", "structured")
    return [*(message_name(type_, mode) for type_ in channel.types for mode in modes), *channel.messages]


def _channel(channel: Channel) -> Mapping[str, Any]:
    binding: dict[str, Any] = {"topic": channel.address, "bindingVersion": KAFKA_BINDING}
    if channel.topic_configuration:
        binding["topicConfiguration"] = channel.topic_configuration
    return {
        "address": channel.address,
        "title": channel.name,
        "summary": channel.summary,
        "description": f"{channel.description} The setting `{channel.setting}` names the topic.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(channel)},
        "bindings": {"kafka": binding},
    }


def _operation_name(channel: Channel) -> str:
    return f"{channel.action}-{channel.name}"


def _operation(channel: Channel) -> Mapping[str, Any]:
    operation: dict[str, Any] = {
        "action": channel.action,
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "summary": channel.summary,
        "messages": [{"$ref": f"#/channels/{channel.name}/messages/{name}"} for name in _message_names(channel)],
    }
    if channel.action == "receive":
        group = {"type": "string", "default": "rudder-worker", "description": "The setting `RUDDER_GROUP_ID`."}
        operation["bindings"] = {"kafka": {"groupId": group, "bindingVersion": KAFKA_BINDING}}
    return operation


def _servers() -> Mapping[str, Any]:
    address = {
        "host": "{bootstrap}",
        "variables": {
            "bootstrap": {"default": "127.0.0.1:9092", "description": "`host:port` of one or more brokers."},
        },
    }

    def schemes(*names: str) -> list[Mapping[str, str]]:
        return [{"$ref": f"#/components/securitySchemes/{name}"} for name in names]

    return {
        "plaintext": {**address, "protocol": "kafka", "description": "Security protocol PLAINTEXT."},
        "ssl": {
            **address,
            "protocol": "kafka-secure",
            "description": "Security protocol SSL: TLS, with a client certificate where the broker asks for one.",
            "security": schemes("tls"),
        },
        "sasl-plaintext": {
            **address,
            "protocol": "kafka",
            "description": "Security protocol SASL_PLAINTEXT, without encryption.",
            "security": schemes(*_SASL),
        },
        "sasl-ssl": {
            **address,
            "protocol": "kafka-secure",
            "description": "Security protocol SASL_SSL: TLS and a SASL mechanism.",
            "security": schemes(*_SASL),
        },
    }


def _security_schemes() -> Mapping[str, Any]:
    return {
        "tls": {"type": "X509", "description": "TLS with a client certificate (mutual TLS)."},
        "saslPlain": {"type": "plain", "description": "SASL PLAIN: user name and password. Use it with TLS."},
        "saslScram256": {"type": "scramSha256", "description": "SASL SCRAM-SHA-256."},
        "saslScram512": {"type": "scramSha512", "description": "SASL SCRAM-SHA-512."},
        "saslOauthbearer": {
            "type": "oauth2",
            "description": "SASL OAUTHBEARER: a token by client credentials, or a token of Amazon MSK IAM.",
            "flows": {
                "clientCredentials": {"tokenUrl": "https://login.example.com/oauth2/token", "availableScopes": {}}
            },
        },
        "saslGssapi": {"type": "gssapi", "description": "SASL GSSAPI: Kerberos."},
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
