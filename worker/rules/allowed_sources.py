"""Who may speak for an organization: the allow-list of event sources, and how a source is looked up in it.

A source is what the event says of itself. The list keeps mistakes and foreign pipelines out; who may write to the topic
at all is the broker's to say.
"""

from collections.abc import Iterable, Mapping
from typing import Self

ANY = "*"
"""As an organization: every one that has no entry of its own. At the end of a source: whatever follows."""


class AllowedSources:
    """An organization's sources, whole or as beginnings. Compared to the letter; nothing in a source is resolved, so
    `/ci/../x` begins with `/ci/`.
    """

    __slots__ = ("_by_organization", "_otherwise")

    def __init__(self, by_organization: Mapping[str, "_Sources"], otherwise: "_Sources") -> None:
        self._by_organization = by_organization
        self._otherwise = otherwise

    @classmethod
    def of(cls, patterns: Mapping[str, Iterable[str]]) -> Self:
        """From patterns by organization. One without an entry has those of `*`; without such an entry, none."""
        by_organization = {organization_id: _Sources(some) for organization_id, some in patterns.items()}
        return cls(by_organization, by_organization.get(ANY, _Sources(())))

    def allow(self, source: str, *, organization_id: str) -> bool:
        return self._by_organization.get(organization_id, self._otherwise).hold(source)


class _Sources:
    __slots__ = ("_beginnings", "_whole")

    def __init__(self, patterns: Iterable[str]) -> None:
        given = tuple(patterns)
        self._whole = frozenset(pattern for pattern in given if not pattern.endswith(ANY))
        self._beginnings = tuple(pattern.removesuffix(ANY) for pattern in given if pattern.endswith(ANY))

    def hold(self, source: str) -> bool:
        return source in self._whole or source.startswith(self._beginnings)
