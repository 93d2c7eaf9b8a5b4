"""Errors, one class for each reaction. The edges translate their libraries' exceptions into these."""


class Conflict(Exception):
    """A row was changed after it was read. Reaction: roll back, load again, decide again."""


class StaleRead(Conflict):
    """Another worker changed the release after it was read. Reaction: as to a conflict, without a limit of attempts,
    because the event is not at fault.
    """


class Unavailable(Exception):
    """The database or the broker cannot be used now. Reaction: wait and retry without a limit; commit no offset."""


class LockTimeout(Unavailable):
    """Another transaction kept a lock for longer than this one may wait. Reaction: write again, without the messages
    that would have to wait too; then as Unavailable.
    """


class RecordRefused(Unavailable):
    """The broker refuses a record permanently, and has not written it. Reaction: give this record up; a caller that can
    only wait treats it as Unavailable.
    """


class Unprocessable(Exception):
    """The database refuses this event's values permanently. Reaction: reject the event as `processing_error`."""


class LeaseLost(Exception):
    """The message's partition was revoked, or the worker stops. Reaction: drop the message; it is delivered again."""


class FatalClientError(Exception):
    """A client library reported an error that only a new process recovers from. Reaction: end the worker."""


class ConfigurationError(Exception):
    """An operator must change something before the worker can run. Reaction: log one line, exit with code 2."""


class LoginRefused(ConfigurationError):
    """The database refused the login; during a failover this is temporary. Reaction: few attempts, since some databases
    lock an account after many; then as ConfigurationError.
    """


EXTERNAL = (Unavailable, ConfigurationError, MemoryError)
"""Errors that no message causes. They pass, or an operator corrects them: a changed password, for example."""
