"""The keys of the gateway: a secret that one party knows, and what it may send with it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest

import structlog

from worker.live_file import LiveFile
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.gateway")

ANY = "*"
"""As an organization: every one. At the end of a project: any suffix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """`organizations`: whose events it may send. `webhooks`: the sources whose webhooks it authenticates. `projects`:
    the repositories or projects of these webhooks; None: all.
    """

    name: str
    secret: bytes = field(repr=False)
    organizations: frozenset[str] = frozenset()
    webhooks: frozenset[str] = frozenset()
    projects: tuple[str, ...] | None = None

    def is_secret(self, given: bytes) -> bool:
        """Compares in constant time; digests, because the comparison of texts discloses their length."""
        return compare_digest(sha256(given).digest(), sha256(self.secret).digest())

    def covers_organization(self, organization_id: str) -> bool:
        return organization_id in self.organizations or ANY in self.organizations

    def covers_project(self, project: str | None) -> bool:
        """A webhook without a project is covered only by a key for all projects."""
        if self.projects is None:
            return True
        return project is not None and any(_matches(pattern, project) for pattern in self.projects)


class Keys:
    """All keys. There may be several for one purpose: while a secret is replaced, the old one and the new one."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    @property
    def all(self) -> Sequence[Key]:
        return self._keys

    def for_webhook(self, source: str) -> Sequence[Key]:
        return tuple(key for key in self._keys if source in key.webhooks)

    @property
    def sources(self) -> Sequence[str]:
        """The sources of webhooks that a key authenticates, sorted."""
        return sorted({source for key in self._keys for source in key.webhooks})


class LiveKeys(LiveFile[Keys]):
    """The keys as they were read last. A service: `run` reads them again on request."""

    def __init__(self, read: Callable[[], Keys]) -> None:
        """Reads the keys. Raises ConfigurationError, as `read`."""
        super().__init__(
            read,
            read_again=lambda keys: _log.info(LogEvent.GATEWAY_KEYS_READ, webhooks=list(keys.sources)),
            refused=lambda error: _log.error(LogEvent.GATEWAY_KEYS_REFUSED, cause=str(error)),
        )


def _matches(pattern: str, project: str) -> bool:
    return project.startswith(pattern.removesuffix(ANY)) if pattern.endswith(ANY) else project == pattern
