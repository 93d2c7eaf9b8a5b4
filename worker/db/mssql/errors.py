"""What SQL Server's errors call for, by number; where a number says nothing, by SQLSTATE and the driver's own texts.

Numbers: Microsoft's "Database Engine events and errors", "Troubleshoot transient connection errors in Azure SQL" and
"Azure SQL Database connectivity settings". 51001 and above are the worker's own. An unknown error is Unavailable:
waiting loses nothing.
"""

import re
from dataclasses import dataclass
from typing import Final

from worker.rules.errors import (
    ConfigurationError,
    Conflict,
    LockTimeout,
    LoginRefused,
    StaleRead,
    Unavailable,
    Unprocessable,
)

WorkerError = Conflict | LockTimeout | LoginRefused | ConfigurationError | StaleRead | Unavailable | Unprocessable
Reaction = type[WorkerError]


@dataclass(frozen=True, slots=True)
class Kind:
    """What several errors have in common. `elsewhere`: the server that the worker is connected to is no longer the one
    to work with, or no longer connected, so that its other connections are of no use either.
    """

    reaction: Reaction
    meaning: str
    elsewhere: bool = False


STALE_READ: Final = Kind(StaleRead, "another worker changed the release first")
CONFLICT: Final = Kind(Conflict, "another transaction was first")
VALUE: Final = Kind(Unprocessable, "the event's own values")
LOGIN: Final = Kind(LoginRefused, "a login refused, for a moment only while a database fails over")
CONFIGURATION: Final = Kind(ConfigurationError, "configuration: settings, firewall, schema")
PERMISSION: Final = Kind(ConfigurationError, "a permission that is missing")
LOCK: Final = Kind(LockTimeout, "another transaction keeps a lock")
TRANSIENT: Final = Kind(Unavailable, "passes by itself")
CAPACITY: Final = Kind(Unavailable, "out of resources: memory, disk, workers, locks")
FAILOVER: Final = Kind(Unavailable, "a server or database that starts, stops or fails over", elsewhere=True)
NETWORK: Final = Kind(Unavailable, "the connection, or the way to the server", elsewhere=True)

NUMBERS: Final[dict[int, tuple[Kind, str]]] = {
    51003: (STALE_READ, "the worker's procedure: the release is no longer as it was read"),
    # A second look decides: another worker, or an earlier attempt whose answer was lost, was first.
    51001: (CONFLICT, "the worker's guard on release_deployments: a transition that is not allowed"),
    51002: (CONFLICT, "the worker's guard on releases: a transition that is not allowed"),
    51004: (CONFLICT, "the worker's procedure: a row is no longer as it was read"),
    51006: (CONFLICT, "the worker's procedure: deadlock on the lock of an event"),
    547: (CONFLICT, "CHECK constraint or foreign key"),
    1205: (CONFLICT, "deadlock victim"),
    2601: (CONFLICT, "unique index"),
    2627: (CONFLICT, "primary key or unique constraint"),
    3960: (CONFLICT, "snapshot isolation: update conflict"),
    3966: (CONFLICT, "snapshot isolation: the version store lost a version"),
    41302: (CONFLICT, "memory-optimised table: update conflict"),
    41305: (CONFLICT, "memory-optimised table: repeatable read validation"),
    41325: (CONFLICT, "memory-optimised table: serializable validation"),
    # The values of an event; decoding lets none of them through.
    220: (VALUE, "arithmetic overflow"),
    242: (VALUE, "a time out of range"),
    515: (VALUE, "NULL in a NOT NULL column"),
    2628: (VALUE, "text too long, naming the column"),
    8114: (VALUE, "a value that cannot be converted"),
    8115: (VALUE, "arithmetic overflow on conversion"),
    8152: (VALUE, "text too long"),
    # The server says no more to a client; the reason is the state of the error in its own log.
    18456: (LOGIN, "check the user and the password; the server's own log has the state of this error"),
    102: (CONFIGURATION, "a statement that this version, or this compatibility level, cannot read"),
    156: (CONFIGURATION, "a statement that this version, or this compatibility level, cannot read"),
    195: (CONFIGURATION, "a function that this version, or this compatibility level, does not have"),
    207: (CONFIGURATION, "a column is missing: the tables are not those of this version"),
    208: (CONFIGURATION, "a table is missing, or is in another schema than the login's default schema"),
    213: (CONFIGURATION, "a table has other columns than those of this version"),
    468: (CONFIGURATION, "app_environments has another collation than the database"),
    911: (CONFIGURATION, "there is no such database"),
    1934: (CONFIGURATION, "a SET option, such as QUOTED_IDENTIFIER, forbids writing to an indexed table"),
    51007: (CONFIGURATION, "sp_getapplock does not work in this database"),
    2812: (CONFIGURATION, "a stored procedure is missing: run `rudder-worker migrate`"),
    51008: (CONFIGURATION, "the worker's procedure: called in a transaction"),
    18452: (CONFIGURATION, "the login is from an untrusted domain"),
    18470: (CONFIGURATION, "the login is disabled"),
    18486: (CONFIGURATION, "the login is locked out"),
    18487: (CONFIGURATION, "the password has expired"),
    18488: (CONFIGURATION, "the password must be changed"),
    40531: (CONFIGURATION, "Azure: the login does not name the server; use user@server"),
    40532: (CONFIGURATION, "Azure: the login names another server, or the firewall refuses it"),
    40607: (CONFIGURATION, "Azure: Windows logins are not supported"),
    40615: (CONFIGURATION, "Azure: no firewall rule for this IP address"),
    40914: (CONFIGURATION, "Azure: no virtual network rule for this subnet"),
    40915: (CONFIGURATION, "Azure: a virtual network rule keeps this address out"),
    47072: (CONFIGURATION, "Azure: the TLS version is below the server's minimum"),
    47073: (CONFIGURATION, "Azure: public network access is denied; connect by the private endpoint"),
    229: (PERMISSION, "a permission on a table or procedure"),
    230: (PERMISSION, "a permission on a column"),
    262: (PERMISSION, "a permission in the database, such as CREATE TABLE"),
    297: (PERMISSION, "a permission for this action"),
    300: (PERMISSION, "a permission on the server"),
    916: (PERMISSION, "the login is no user of the database"),
    51005: (LOCK, "the worker's procedure: the lock of an event was not granted in time"),
    601: (TRANSIENT, "a scan met data that moved"),
    617: (TRANSIENT, "a table's descriptor was not found in memory"),
    669: (TRANSIENT, "a row was inconsistent while it was read"),
    1221: (TRANSIENT, "the lock was lost"),
    1222: (LOCK, "the lock was not granted in time"),
    3930: (TRANSIENT, "the transaction is doomed"),
    3998: (TRANSIENT, "the transaction was left uncommittable"),
    4221: (TRANSIENT, "a secondary waits for row versions"),
    41301: (TRANSIENT, "memory-optimised table: a transaction this one depends on has failed"),
    41839: (TRANSIENT, "memory-optimised table: too many dependencies"),
    701: (CAPACITY, "out of memory"),
    802: (CAPACITY, "no buffers"),
    845: (CAPACITY, "a buffer latch was not granted in time"),
    1101: (CAPACITY, "the disk is full"),
    1105: (CAPACITY, "the filegroup is full"),
    1203: (CAPACITY, "a lock was released that was not held"),
    1204: (CAPACITY, "no memory for locks"),
    8628: (CAPACITY, "the query was not optimised in time"),
    8645: (CAPACITY, "no memory grant in time"),
    8651: (CAPACITY, "no memory grant"),
    9002: (CAPACITY, "the log is full"),
    10922: (CAPACITY, "Azure: the request failed; it may be repeated"),
    10928: (CAPACITY, "Azure: a limit of workers or sessions"),
    10929: (CAPACITY, "Azure: the server is too busy"),
    10936: (CAPACITY, "Azure: a limit of requests"),
    17300: (CAPACITY, "no system task"),
    17809: (CAPACITY, "the server has no connection left"),
    18458: (CAPACITY, "all licensed connections are in use"),
    40501: (CAPACITY, "Azure: the service is busy"),
    40544: (CAPACITY, "Azure: the database has reached its size"),
    40549: (CAPACITY, "Azure: a long transaction was ended"),
    40550: (CAPACITY, "Azure: too many locks"),
    40551: (CAPACITY, "Azure: too much of tempdb"),
    40552: (CAPACITY, "Azure: too much of the log"),
    40553: (CAPACITY, "Azure: too much memory"),
    49918: (CAPACITY, "Azure: not enough resources"),
    49919: (CAPACITY, "Azure: too many operations"),
    49920: (CAPACITY, "Azure: too many operations"),
    596: (FAILOVER, "the session was killed"),
    615: (FAILOVER, "Azure: the database was moved"),
    913: (FAILOVER, "the database is not there yet"),
    921: (FAILOVER, "the database is not recovered yet"),
    922: (FAILOVER, "the database recovers"),
    923: (FAILOVER, "the database is restricted"),
    924: (FAILOVER, "the database is in single-user mode"),
    926: (FAILOVER, "the database is suspect"),
    927: (FAILOVER, "the database is being restored"),
    942: (FAILOVER, "the database is offline"),
    945: (FAILOVER, "the database lacks files or memory"),
    952: (FAILOVER, "the database is in transition"),
    976: (FAILOVER, "availability group: a secondary"),
    978: (FAILOVER, "availability group: a secondary that takes readers only"),
    979: (FAILOVER, "availability group: a secondary that this connection cannot read"),
    982: (FAILOVER, "availability group: no secondary takes readers"),
    983: (FAILOVER, "availability group: neither primary nor readable"),
    988: (FAILOVER, "availability group: no quorum"),
    3906: (FAILOVER, "the database is read-only: a secondary, after a failover"),
    3908: (FAILOVER, "the database is in emergency mode"),
    4060: (FAILOVER, "the database cannot be opened: it fails over, there is none, or the login is no user of it"),
    4064: (FAILOVER, "the login's default database cannot be opened"),
    6005: (FAILOVER, "the server shuts down"),
    9001: (FAILOVER, "the log is not available"),
    17142: (FAILOVER, "the server is paused"),
    17187: (FAILOVER, "the server is not ready for connections"),
    17188: (FAILOVER, "the server shuts down"),
    17197: (FAILOVER, "the login timed out"),
    17830: (FAILOVER, "the login was cut off"),
    18401: (FAILOVER, "the server upgrades itself"),
    18451: (FAILOVER, "the server admits administrators only"),
    18461: (FAILOVER, "the server is in single-user mode"),
    40020: (FAILOVER, "Azure: the database fails over"),
    40143: (FAILOVER, "Azure: the service has an error"),
    40166: (FAILOVER, "Azure: the database is reconfigured"),
    40197: (FAILOVER, "Azure: the service has an error"),
    40540: (FAILOVER, "Azure: the service has an error"),
    40613: (FAILOVER, "Azure: the database is not available now"),
    40627: (FAILOVER, "Azure: the server is being changed"),
    42108: (FAILOVER, "Azure: the pool is paused"),
    42109: (FAILOVER, "Azure: the pool is warming up"),
    20: (NETWORK, "no encryption was agreed on"),
    26: (NETWORK, "the instance was not found"),
    53: (NETWORK, "the server was not found"),
    64: (NETWORK, "the connection broke during the login"),
    121: (NETWORK, "the network timed out"),
    233: (NETWORK, "the server closed the connection before the login"),
    258: (NETWORK, "the network timed out"),
    10051: (NETWORK, "no route to the network"),
    10053: (NETWORK, "the connection was aborted"),
    10054: (NETWORK, "the connection was reset"),
    10060: (NETWORK, "the server did not answer"),
    10061: (NETWORK, "the connection was refused"),
    10065: (NETWORK, "no route to the host"),
    11001: (NETWORK, "the host name was not resolved"),
}
"""Each number's kind and what the server or the driver means by it."""

_STATES: Final[tuple[tuple[str, Kind], ...]] = (
    ("40", CONFLICT),  # transaction rollback
    ("23", CONFLICT),  # integrity constraint
    ("22", VALUE),  # data exception: the driver's own, before anything is sent
    ("28", LOGIN),  # authorisation
    ("08", NETWORK),
    ("HYT", NETWORK),  # a time-out: no answer, although the server gives up on a lock before the driver does
    ("IMC", NETWORK),  # the driver's: the connection broke, and could not be recovered
    ("IM", CONFIGURATION),  # the driver manager: no such driver or data source
    ("FA", CONFIGURATION),  # the driver's: options that contradict each other
)
"""By the beginnings of SQLSTATEs; any other is transient."""

_TEXTS: Final[tuple[tuple[str, Kind], ...]] = tuple(
    (text, CONFIGURATION)
    for text in (
        # TLS to a server whose certificate is not trusted; its state is 08001
        "certificate verify failed",
        "certificate chain was issued by an authority that is not trusted",
        "target principal name is incorrect",
        "unsupported protocol",  # TLS: no version that both sides have
        "Can't open lib",  # the driver manager's, with the state of a warning
        "Invalid value specified for connection string attribute",
        "Invalid connection string attribute",
    )
)

_PRECEDENCE: Final = (StaleRead, LockTimeout, Unavailable, Conflict, ConfigurationError, LoginRefused, Unprocessable)
"""Of several errors in one message: what rejects nothing comes first."""

_VERSION_TAKEN: Final = re.compile(
    r"PRIMARY KEY constraint '[^']*'\. Cannot insert duplicate key in object '(?:[^']*\.)?release_versions'"
)
"""Another worker was the first to give a release a version."""

_NUMBER: Final = re.compile(r"\((\d+)\) \(SQL\w+\)(?=$|; \[\w{5}\] \[)")
"""How the driver ends each of its messages. Elsewhere the same form is a quoted text."""


def kind_of(error: BaseException) -> Kind:
    """Of one of pyodbc's errors, whose arguments are a SQLSTATE and a text."""
    return _classified(error)[0]


def kind_of_number(number: int, text: str) -> Kind:
    """Of an error that the worker's procedure has returned."""
    return _of_number(number, text)[0]


def error_of(number: int, text: str) -> WorkerError:
    """The worker's error for one that its procedure has returned."""
    kind, meaning = _of_number(number, text)
    return _worker_error(kind, meaning, f"{text} ({number})")


def reaction(error: BaseException) -> WorkerError:
    """The worker's error for one of pyodbc's. What an operator has to change is explained."""
    return _worker_error(*_classified(error), _parts(error)[1] or repr(error))


def _worker_error(kind: Kind, meaning: str, text: str) -> WorkerError:
    explained = issubclass(kind.reaction, ConfigurationError) and meaning
    return kind.reaction(f"SQL Server: {text}{f': {meaning}' if explained else ''}")


def _of_number(number: int, text: str) -> tuple[Kind, str]:
    if _VERSION_TAKEN.search(text):
        return STALE_READ, ""
    return NUMBERS.get(number, (TRANSIENT, ""))


def _classified(error: BaseException) -> tuple[Kind, str]:
    state, text = _parts(error)
    if _VERSION_TAKEN.search(text):
        return STALE_READ, ""
    found = [NUMBERS[number] for number in map(int, _NUMBER.findall(text)) if number in NUMBERS]
    for wanted in _PRECEDENCE:
        for kind, meaning in found:
            if kind.reaction is wanted:
                return kind, meaning
    for fragment, kind in _TEXTS:
        if fragment in text:
            return kind, ""
    for beginning, kind in _STATES:
        if state.startswith(beginning):
            return kind, ""
    return TRANSIENT, ""


def _parts(error: BaseException) -> tuple[str, str]:
    if len(error.args) > 1:
        return str(error.args[0]), str(error.args[1])
    return "", str(error)
