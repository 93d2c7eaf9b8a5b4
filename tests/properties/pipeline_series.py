"""The events of one deployment by CDEvents, Jenkins and Azure DevOps, in the order in which they happened.

Each series consists of published bodies that differ in the members that change: state, id and time. A property delivers
each series in other orders and with repetitions.
"""

from types import ModuleType
from typing import Any

from schemas.adapters import azure_devops, cdevents, jenkins
from schemas.adapters.foreign import ForeignEvent, ForeignRecord
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed

_COMMIT = "58793660b22d6ceacbdc23b28a0562bca339702c"


def cdevents_deployment() -> tuple[ForeignEvent, ...]:
    """The proposed events: queued, started, finished."""
    deployed = body_of("cdevents", "spec-v0.5.1/service_deployed.json")
    bodies = [
        changed(
            deployed,
            {
                "context/type": f"dev.cdevents.deployment.{predicate}.0.1.0",
                "context/timestamp": f"2026-03-20T14:27:0{second}Z",
                "subject/id": "dep-8f3a2c",
                "subject/content/outcome": outcome,
            },
        )
        for second, (predicate, outcome) in enumerate([("queued", None), ("started", None), ("finished", "failure")])
    ]
    return _events(cdevents, *bodies)


def jenkins_build() -> tuple[ForeignEvent, ...]:
    """The notification plugin's phases: the last two are one change, with the time of its end."""
    phases = [("QUEUED", None), ("STARTED", None), ("COMPLETED", "SUCCESS"), ("FINALIZED", "SUCCESS")]
    parameters = {"ENVIRONMENT": "production", "IMAGE": "ghcr.io/acme/shop:1.2"}
    bodies = [
        changed(
            body_of("jenkins", "notification-plugin/started.json"),
            {
                "build/phase": phase,
                "build/status": status,
                "build/timestamp": 1704281696000 + min(second, 2) * 1000,
                "build/parameters": parameters,
            },
        )
        for second, (phase, status) in enumerate(phases)
    ]
    return _events(jenkins, *bodies)


def azure_stage() -> tuple[ForeignEvent, ...]:
    """A stage of a YAML pipeline that waits for an approval, runs, and fails."""
    states = [("waiting", None), ("running", None), ("completed", "failed")]
    bodies = [
        changed(
            body_of("azure-devops", "stage-state-changed.json"),
            {
                "id": f"ac1dd6da-af30-43cb-8434-e1005864b0a{second}",
                "createdDate": f"2026-03-20T14:27:0{second}.1234567Z",
                "resource/stage/name": "production",
                "resource/stage/state": state,
                "resource/stage/result": result,
                "resource/run/resources": {"repositories": {"self": {"version": _COMMIT}}},
            },
        )
        for second, (state, result) in enumerate(states)
    ]
    return _events(azure_devops, *bodies)


def azure_release() -> tuple[ForeignEvent, ...]:
    """The deployment of a classic release: started, completed."""
    release = {"resource/environment/release/id": 5, "resource/environment/release/name": "Release-5"}
    started = changed(body_of("azure-devops", "release.deployment-started.json"), release)
    completed = changed(
        body_of("azure-devops", "release.deployment-completed.json"),
        {
            **release,
            "createdDate": "2019-10-10T17:50:39.157Z",
            "resourceContainers": started["resourceContainers"],
        },
    )
    return _events(azure_devops, started, completed)


SERIES = (cdevents_deployment, jenkins_build, azure_stage, azure_release)


def _events(adapter: ModuleType, *bodies: dict[str, Any]) -> tuple[ForeignEvent, ...]:
    events = tuple(adapter.adapt(ForeignRecord(headers={}, body=body)) for body in bodies)
    assert all(isinstance(event, ForeignEvent) for event in events)
    return events
