"""Receives one request, in reading order: credentials, body, examination, budget, Kafka, answer."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import assert_never

from starlette.requests import Request

from schemas.adapters.foreign import Adapted, ForeignEvent, Format, NoInterest
from schemas.adapters.recognition import FORMAT_HEADER
from schemas.detail import PROBLEMS_MAX, printable
from schemas.event import Event
from worker.gateway.credentials import Authorization, Scheme, matching_key, presented
from worker.gateway.examination import (
    EventLimits,
    Examined,
    ForeignCloudEvent,
    adapted_webhook,
    examine_events,
    examine_webhook,
)
from worker.gateway.fair_turns import FairTurns
from worker.gateway.forwarder import Acknowledged, Forwarder, Forwarding, NotAcknowledged, RecordTooLarge
from worker.gateway.http_binding import KafkaEvent, Mode, content_mode, kafka_events
from worker.gateway.keys import Key, LiveKeys
from worker.gateway.problems import Fault, Kind, Refusal
from worker.gateway.request_body import read_body
from worker.gateway.request_budget import RequestBudget, RequestUsage
from worker.gateway.request_head import RequestHead
from worker.gateway.webhooks import NAME, delivery_id, project_of, record_headers, record_key, schemes_of
from worker.ports import Clock, OutgoingRecord

_OF_REPOSITORIES = frozenset({Format.GITHUB, Format.GITLAB})
"""Their projects are the repositories of the mapping."""
_EVENT_SCHEMES: tuple[Scheme, ...] = (Authorization(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """`document`: the answer, with the identity of what was accepted. `key`: the name of the key, for the log."""

    document: object
    key: str


class Receiver:
    """What the endpoints do with a request. Each raises Refusal if it is not accepted."""

    def __init__(
        self,
        *,
        topic: str,
        keys: LiveKeys,
        limits: EventLimits,
        budget: RequestBudget,
        forwarder: Forwarder,
        clock: Clock,
    ) -> None:
        self._topic = topic
        self._keys = keys
        self._limits = limits
        self._budget = budget
        self._forwarder = forwarder
        self._clock = clock
        self._turns = FairTurns()

    async def events(self, request: Request) -> Accepted:
        """`POST /events`."""
        head = RequestHead(request.scope["headers"])
        key = self._authenticated(_EVENT_SCHEMES, self._keys.current.all, head, b"")
        self._require_capacity(key)
        mode = content_mode(head)
        usage = self._budget.usage()
        try:
            body = await read_body(request, head, usage, bytes_max=self._limits.bytes_max)
            async with self._turns.turn(key.name):
                sent = kafka_events(head, body)
                events = examine_events(sent, self._limits, now_ms=int(self._clock.unix_seconds() * 1000))
                _require_covered(key, events, [event.pointer for event in sent])
                records = [self._record(*pair, key) for pair in zip(sent, events, strict=True)]
                if mode is Mode.BATCHED:
                    usage.add_bytes(sum(len(event.value) for event in sent))
                forwarding = self._begin(records, usage, key)
            await self._forwarded(forwarding, key)
        finally:
            usage.release()
        identities = [_identity_of(event) for event in events]
        return Accepted(document=identities if mode is Mode.BATCHED else identities[0], key=key.name)

    async def webhook(self, request: Request) -> Accepted:
        """`POST /webhooks/{source}`."""
        name = request.path_params["source"]
        keys = self._keys.current.for_webhook(name) if NAME.fullmatch(name) else ()
        if not keys:
            raise Refusal(Kind.NOT_FOUND, "no key of RUDDER_GATEWAY_KEYS_FILE is for webhooks of this source")
        head, schemes = RequestHead(request.scope["headers"]), schemes_of(name)
        if not presented(schemes, head):
            raise _unauthenticated()
        usage = self._budget.usage()
        try:
            body = await read_body(request, head, usage, bytes_max=self._limits.bytes_max)
            async with self._turns.turn(name):  # the key is not known yet
                key = self._authenticated(schemes, keys, head, body)
                self._require_capacity(key)
                headers = record_headers(name, head)
                content = examine_webhook(head, body)
                project = project_of(name, content)
                if not key.covers_project(project):
                    detail = "the key does not cover the project of this webhook"
                    raise Refusal(Kind.FORBIDDEN, detail, key=key.name)
                adapted = adapted_webhook(name, headers, body, content)
                self._require_own_projects(key, adapted)
                record = OutgoingRecord(
                    topic=self._topic, key=record_key(name, project, key_name=key.name), value=body, headers=headers
                )
                forwarding = self._begin([record], usage, key)
            await self._forwarded(forwarding, key)
        finally:
            usage.release()
        delivery = delivery_id(name, head)
        return Accepted(
            document={"format": name, "delivery": delivery and printable(delivery), **_identity(adapted)},
            key=key.name,
        )

    @staticmethod
    def _require_own_projects(key: Key, adapted: Adapted | None) -> None:
        """Also of the repository that the adapter reads: a body can name it in several members."""
        if not isinstance(adapted, ForeignEvent) or adapted.format not in _OF_REPOSITORIES:
            return
        if not key.covers_project(adapted.scope.get("repository")):
            raise Refusal(Kind.FORBIDDEN, "the key does not cover the project of this webhook", key=key.name)

    def _record(self, sent: KafkaEvent, event: Examined, key: Key) -> OutgoingRecord:
        match event:
            case Event():
                return OutgoingRecord(
                    topic=self._topic, key=str(event.data.release_id).encode(), value=sent.value, headers=sent.headers
                )
            case ForeignCloudEvent(format=name, project=project):
                return OutgoingRecord(
                    topic=self._topic,
                    key=record_key(name, project, key_name=key.name),
                    value=sent.value,
                    headers=((FORMAT_HEADER, name.encode()), *sent.headers),
                )
            case _:
                assert_never(event)

    def _authenticated(self, schemes: Sequence[Scheme], keys: Sequence[Key], head: RequestHead, body: bytes) -> Key:
        key = matching_key(schemes, keys, head, body, now_seconds=self._clock.unix_seconds())
        if key is None:
            raise _unauthenticated()
        return key

    def _require_capacity(self, key: Key) -> None:
        """Raise Refusal before the request costs more: Kafka does not answer, or the key has too much in progress."""
        if (problem := self._forwarder.problem) is not None:
            raise _unavailable(key, problem)
        with self._full_because_of_kafka(key):
            self._budget.require_free(key.name)

    @contextmanager
    def _full_because_of_kafka(self, key: Key) -> Iterator[None]:
        """If the budget is used up by records that Kafka does not acknowledge, the clients are not the cause."""
        try:
            yield
        except Refusal:
            if self._forwarder.is_late:
                raise _unavailable(key, "the budget is used up by records without an acknowledgement") from None
            raise

    def _begin(self, records: Sequence[OutgoingRecord], usage: RequestUsage, key: Key) -> Forwarding:
        with self._full_because_of_kafka(key):
            usage.add_records(len(records), key=key.name)
        forwarding = self._forwarder.begin(records, usage)
        if isinstance(forwarding, NotAcknowledged):
            raise _unavailable(key, forwarding.cause)
        return forwarding

    async def _forwarded(self, forwarding: Forwarding, key: Key) -> None:
        """Return once Kafka has acknowledged all records."""
        match await self._forwarder.forwarded(forwarding):
            case Acknowledged():
                return
            case NotAcknowledged(cause):
                raise _unavailable(key, cause)
            case RecordTooLarge():
                raise Refusal(Kind.TOO_LARGE, "the topic refuses a record as large as this", key=key.name)
            case outcome:
                assert_never(outcome)


def _require_covered(key: Key, events: Sequence[Examined], pointers: Sequence[str]) -> None:
    errors = [
        Fault(pointer=pointer + problem[0], detail=problem[1])
        for event, pointer in zip(events, pointers, strict=True)
        if (problem := _not_covered(key, event)) is not None
    ]
    if errors:
        detail = "the key does not cover the event"
        raise Refusal(Kind.FORBIDDEN, detail, errors=errors[:PROBLEMS_MAX], key=key.name)


def _not_covered(key: Key, event: Examined) -> tuple[str, str] | None:
    """The pointer and the problem."""
    match event:
        case Event():
            covered = key.covers_organization(event.data.organization_id)
            return None if covered else ("/data/organization_id", "is not an organization of this key")
        case ForeignCloudEvent(format=name, project=project):
            if name not in key.webhooks:
                return "/type", f"is of {name}, which is not among the webhooks of this key"
            return None if key.covers_project(project) else ("", "is not of a project of this key")
        case _:
            assert_never(event)


def _identity_of(event: Examined) -> Mapping[str, str]:
    """The identity in the answer."""
    if isinstance(event, ForeignCloudEvent):
        return event.identity
    return {"source": event.source, "id": event.id, "type": str(event.type)}


def _identity(adapted: Adapted | None) -> dict[str, object]:
    """The members of the answer that the adapter knows."""
    match adapted:
        case ForeignEvent(source=source, id=id_, type=type_):
            return {"event": {"source": source, "id": id_, "type": str(type_)}}
        case NoInterest(kind=kind):
            return {"no_interest": kind}
        case None:
            return {}
        case _:
            assert_never(adapted)


def _unauthenticated() -> Refusal:
    return Refusal(Kind.UNAUTHENTICATED, "the token or the signature is missing, wrong or too old")


def _unavailable(key: Key, cause: str) -> Refusal:
    detail = "Kafka has not acknowledged it; it may still be written: send it again, a repeated event changes nothing"
    return Refusal(Kind.UNAVAILABLE, detail, key=key.name, cause=cause)
