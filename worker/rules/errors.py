"""Errors by the reaction they need. The edges translate their library's exceptions into these."""


class Conflict(Exception):
    """A guard failed: somebody else wrote first. React: roll back, read afresh, decide again."""


class StaleRead(Conflict):
    """The release itself was changed, so another worker got ahead. React: as to any conflict, and never give up: there
    is nothing wrong with the event, and whoever is ahead comes to an end.
    """


class Unavailable(Exception):
    """The database or the broker cannot be used now. React: wait and try again, however long; advance nothing."""


class Unprocessable(Exception):
    """The database refuses this event's values for good. React: reject it as `processing_error`."""


class LeaseLost(Exception):
    """The message's partition was given up, or the worker stops. React: leave it; it will be delivered again."""


class FatalClientError(Exception):
    """An edge is in a state that it cannot leave by itself. React: end the worker; what restarts it begins afresh."""


class ConfigurationError(Exception):
    """What the operator must change before the worker can run. React: say so in one line and exit 2."""


class LoginRefused(ConfigurationError):
    """The database refused the login, which one that fails over does for a moment. React: a few attempts at start, then
    as ConfigurationError; never many, since some databases lock an account for them.
    """
