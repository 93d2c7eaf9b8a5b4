"""Asking for a topic must not create it: topics are the operator's, and a misspelt name is a mistake, not a wish.

aiokafka (0.14) offers no setting for it: each of its metadata requests allows the broker to create what it names, and a
broker's own default (`auto.create.topics.enable`) is to do so.
"""

from typing import Any

from aiokafka.protocol.metadata import MetadataRequest

_original = MetadataRequest.__init__


def forbid() -> None:
    """Have no client of this process create a topic by asking for it."""
    MetadataRequest.__init__ = _without_creation


def _without_creation(self: MetadataRequest, topics: list[str] | None = None, *_: Any, **__: Any) -> None:
    _original(self, topics, allow_auto_topic_creation=False)
