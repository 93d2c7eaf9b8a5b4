"""The events of one deployment by Argo CD and by Tekton, in the order in which they happened.

Argo CD's bodies are recorded. Tekton's are one object whose condition and times change. A property delivers each series
in other orders and with repetitions.
"""

from types import ModuleType
from typing import Any

from schemas.adapters import argocd, tekton
from schemas.adapters.foreign import ForeignEvent, ForeignRecord
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed

_CAPTURED = "argocd/captured"
_COMMIT = "94fcc5e8673e0d2d7fbca6b1c6c455ba308314fc"


def argocd_sync() -> tuple[ForeignEvent, ...]:
    """A sync that is recorded twice: running, and healthy."""
    names = ("007_sync_podinfo_1_1.json", "008_sync_podinfo_1_2.json")
    return _events(argocd, *(_in_production(body_of(_CAPTURED, name)) for name in names))


def argocd_chart() -> tuple[ForeignEvent, ...]:
    """The sync of a chart whose pods need some time: running, applied, healthy. The first two are one state."""
    running = _in_production(body_of(_CAPTURED, "020_sync_podinfo_4_3.json"))
    state = "app/status/operationState"
    applied = {f"{state}/phase": "Succeeded", f"{state}/finishedAt": "2025-10-02T16:57:46Z"}
    healths = ("Progressing", "Healthy")
    ends = (changed(running, {**applied, "app/status/health/status": health}) for health in healths)
    return _events(argocd, running, *ends)


def tekton_run() -> tuple[ForeignEvent, ...]:
    """A PipelineRun that a user cancels: queued, started, running, failed."""
    conditions = [None, ("Unknown", "Started"), ("Unknown", "Running"), ("False", "Cancelled")]
    return _events(tekton, *(_pipeline_run(condition) for condition in conditions))


SERIES = (argocd_sync, argocd_chart, tekton_run)


def _in_production(body: dict[str, Any]) -> dict[str, Any]:
    return changed(body, {"app/metadata/labels": {"rudder.dev/environment": "production"}})


def _pipeline_run(condition: tuple[str, str] | None) -> dict[str, Any]:
    status: dict[str, Any] = {}
    if condition is not None:
        status = {
            "startTime": "2026-03-01T09:30:00Z",
            "conditions": [{"type": "Succeeded", "status": condition[0], "reason": condition[1]}],
        }
        if condition[0] == "False":
            status["completionTime"] = "2026-03-01T09:31:00Z"
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {
            "uid": "4ccb4f01-3ecc-4eb4-87e1-76f04efeee5c",
            "name": "deploy-7",
            "namespace": "shop",
            "creationTimestamp": "2026-03-01T09:29:58Z",
        },
        "spec": {
            "pipelineRef": {"name": "deploy"},
            "params": [{"name": "environment", "value": "production"}, {"name": "revision", "value": _COMMIT}],
        },
        "status": status,
    }


def _events(adapter: ModuleType, *bodies: dict[str, Any]) -> tuple[ForeignEvent, ...]:
    events = [adapter.adapt(ForeignRecord(headers={}, body=body)) for body in bodies]
    assert all(isinstance(event, ForeignEvent) for event in events)
    return tuple(events)
