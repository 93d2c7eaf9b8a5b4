"""The allow-list of event sources per organization.

Publishers choose an event's source themselves. So the list detects misrouted pipelines; only the broker's ACLs protect
a topic from hostile publishers.
"""

from collections.abc import Iterable, Mapping
from typing import Self

ANY = "*"
"""As an organization: every organization that is not listed. At the end of a source: any suffix."""


class AllowedSources:
    """Sources per organization: exact ones and prefixes. Compared as text; paths are not resolved, so `/ci/../x` has
    the prefix `/ci/`.
    """

    __slots__ = ("_by_organization", "_default")

    def __init__(self, by_organization: Mapping[str, "_Sources"], default: "_Sources") -> None:
        self._by_organization = by_organization
        self._default = default

    @classmethod
    def of(cls, patterns: Mapping[str, Iterable[str]]) -> Self:
        """From patterns by organization. An organization without an entry has the patterns of `*`, if any."""
        by_organization = {organization_id: _Sources(sources) for organization_id, sources in patterns.items()}
        return cls(by_organization, by_organization.get(ANY, _Sources(())))

    def allow(self, source: str, *, organization_id: str) -> bool:
        return self._by_organization.get(organization_id, self._default).contains(source)


class _Sources:
    __slots__ = ("_exact", "_prefixes")

    def __init__(self, patterns: Iterable[str]) -> None:
        given = tuple(patterns)
        self._exact = frozenset(pattern for pattern in given if not pattern.endswith(ANY))
        self._prefixes = tuple(pattern.removesuffix(ANY) for pattern in given if pattern.endswith(ANY))

    def contains(self, source: str) -> bool:
        return source in self._exact or source.startswith(self._prefixes)
