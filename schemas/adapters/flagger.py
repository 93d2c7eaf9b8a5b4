"""Flagger: the webhook that it calls with each of its events (`type: event`, or `-event-webhook`).

Its phase alone does not distinguish one rollout from the next: the checksum is the same again when an earlier version
returns, and events of one phase repeat. The messages of four events mark the changes; the event's time, in
milliseconds, identifies it. Phases and messages: docs/reference/sources/flagger.md.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from schemas.adapters.fields import commit_of, line, member, required, split_image, text, unix_time_at
from schemas.adapters.foreign import Adapted, Artifact, ForeignEvent, ForeignRecord, Format, NoInterest, Original
from schemas.adapters.kubernetes import ENVIRONMENT, RELEASE_ID, release_id
from schemas.adapters.repositories import derived_id
from schemas.types import EventType

FORMAT: Final = Format.FLAGGER

PHASES: Final = frozenset(
    {
        "Initializing",
        "Initialized",
        "Waiting",
        "Progressing",
        "WaitingPromotion",
        "Promoting",
        "Finalising",
        "Succeeded",
        "Failed",
        "Terminating",
        "Terminated",
    }
)
CHANGES: Final[Mapping[str, tuple[str, EventType]]] = {
    "Initialized": ("Initialization done!", EventType.DEPLOYMENT_SUCCEEDED),
    "Progressing": ("New revision detected!", EventType.DEPLOYMENT_STARTED),
    "Succeeded": ("Promotion completed!", EventType.DEPLOYMENT_SUCCEEDED),
    "Failed": ("Canary failed!", EventType.DEPLOYMENT_FAILED),
}
"""By phase, the message with which it begins, and what it means."""
_IMAGE: Final = "image"
_MILLISECONDS: Final = 1_000


def has_type(_type: str) -> bool:
    """Flagger sends no CloudEvents."""
    return False


def has_headers(_headers: Mapping[str, str]) -> bool:
    """Flagger sends no header of its own."""
    return False


def has_shape(body: Mapping[str, Any]) -> bool:
    """A canary's webhook, or a Kubernetes event about a canary."""
    version = member(body, "involvedObject", "apiVersion")
    if isinstance(version, str) and version.startswith("flagger.app/"):
        return True
    if not isinstance(body.get("phase"), str) or body["phase"] not in PHASES:
        return False
    is_event = isinstance(member(body, "metadata", "eventMessage"), str)
    return {"name", "namespace"} <= body.keys() and (is_event or "checksum" in body)


def adapt(record: ForeignRecord) -> Adapted:
    """An event of a canary."""
    body = record.body
    if "involvedObject" in body:
        return NoInterest(format=FORMAT, kind="Kubernetes event")
    phase = required(body, "phase")
    if phase not in PHASES:
        return NoInterest(format=FORMAT, kind="other phase")
    message = line(body, "metadata", "eventMessage")
    if message is None:
        return NoInterest(format=FORMAT, kind="hook")
    marked = CHANGES.get(phase)
    if marked is None or not message.startswith(marked[0]):
        return NoInterest(format=FORMAT, kind=phase)
    artifact = _artifact(body)
    if artifact == Artifact():
        return NoInterest(format=FORMAT, kind="no artifact")
    return _event(body, phase, marked[1], artifact, message)


def _event(body: Mapping[str, Any], phase: str, type_: EventType, artifact: Artifact, message: str) -> ForeignEvent:
    name, namespace = required(body, "name"), required(body, "namespace")
    stamp = required(body, "metadata", "timestamp")
    cluster = text(body, "metadata", "cluster")
    canary = f"{namespace}/{name}"
    found = {
        "service": name,
        "namespace": namespace,
        "cluster": cluster,
        "environment": text(body, "metadata", ENVIRONMENT) or text(body, "metadata", "environment"),
    }
    path = ("namespaces", namespace, "canaries", name)
    return ForeignEvent(
        format=FORMAT,
        type=type_,
        source="/apis/flagger.app/" + "/".join(quote(part, safe="", errors="replace") for part in path),
        id=derived_id(*([cluster] if cluster is not None else []), canary, phase, stamp),
        time=unix_time_at(body, "metadata", "timestamp", per_second=_MILLISECONDS),
        original=Original(type=f"canary.{phase}", id=canary, status=phase),
        scope={name: value for name, value in found.items() if value is not None},
        artifact=artifact,
        comment=message,
    )


def _artifact(body: Mapping[str, Any]) -> Artifact:
    """From the webhook's own metadata, else the canary's checksum, which identifies a configuration."""
    commit = commit_of(text(body, "metadata", "commit"))
    id_ = release_id(text(body, "metadata", RELEASE_ID), "metadata", RELEASE_ID)
    reference = text(body, "metadata", _IMAGE)
    image, tag, digest = split_image(reference) if reference is not None else (None, None, None)
    tag = tag or text(body, "metadata", "tag")
    if commit is None and id_ is None and tag is None and digest is None:
        tag = text(body, "checksum")
    if tag is None and commit is None and id_ is None and digest is None:
        return Artifact()
    return Artifact(commit=commit, image=image, tag=tag, digest=digest, release_id=id_)
