"""What SQL Server's errors call for, by number; where a number says nothing, by SQLSTATE.

Numbers: Microsoft's "Database Engine events and errors" and "Troubleshoot transient connection errors in Azure SQL".
51001 and above are the worker's own. An error that nobody here knows is Unavailable: waiting loses nothing.
"""

import re
from typing import Final

from worker.domain.errors import Conflict, Misconfigured, Outrun, Unavailable, Unprocessable

Reaction = type[Conflict | Misconfigured | Outrun | Unavailable | Unprocessable]

NUMBERS: Final[dict[int, tuple[Reaction, str]]] = {
    51003: (Outrun, "the worker's batch: the release is no longer as it was read"),
    # A second look decides: another worker, or an earlier try whose answer was lost, was first.
    51001: (Conflict, "the worker's guard on release_deployments: a transition that is not allowed"),
    51002: (Conflict, "the worker's guard on releases: a transition that is not allowed"),
    51004: (Conflict, "the worker's batch: a row is no longer as it was read"),
    547: (Conflict, "CHECK constraint or foreign key"),
    1205: (Conflict, "deadlock victim"),
    2601: (Conflict, "unique index"),
    2627: (Conflict, "primary key or unique constraint"),
    3960: (Conflict, "snapshot isolation: update conflict"),
    41302: (Conflict, "memory-optimised table: update conflict"),
    41305: (Conflict, "memory-optimised table: repeatable read validation"),
    41325: (Conflict, "memory-optimised table: serializable validation"),
    # The values of an event; decoding lets none of them through.
    220: (Unprocessable, "arithmetic overflow"),
    242: (Unprocessable, "a time out of range"),
    515: (Unprocessable, "NULL in a NOT NULL column"),
    2628: (Unprocessable, "text too long, naming the column"),
    8114: (Unprocessable, "a value that cannot be converted"),
    8115: (Unprocessable, "arithmetic overflow on conversion"),
    8152: (Unprocessable, "text too long"),
    # What an operator mends.
    208: (Misconfigured, "no such table"),
    468: (Misconfigured, "app_environments has another collation than the database"),
    229: (Misconfigured, "a permission on a table is missing"),
    230: (Misconfigured, "a permission on a column is missing"),
    916: (Misconfigured, "the login is no user of the database"),
    1934: (Misconfigured, "a SET option, QUOTED_IDENTIFIER perhaps, forbids writing to an indexed table"),
    18452: (Misconfigured, "the login is from an untrusted domain"),
    18456: (Misconfigured, "login failed"),
    18470: (Misconfigured, "the login is disabled"),
    18486: (Misconfigured, "the login is locked out"),
    18487: (Misconfigured, "the password has expired"),
    18488: (Misconfigured, "the password must be changed"),
    40615: (Misconfigured, "Azure: a firewall keeps this address out"),
    # What passes: a server that starts, fails over, is busy or full.
    596: (Unavailable, "the session was killed"),
    601: (Unavailable, "a scan met data that moved"),
    701: (Unavailable, "out of memory"),
    802: (Unavailable, "no buffers"),
    845: (Unavailable, "time-out of a buffer latch"),
    913: (Unavailable, "the database is not there yet"),
    922: (Unavailable, "the database recovers"),
    923: (Unavailable, "the database is restricted"),
    924: (Unavailable, "the database is in single-user mode"),
    926: (Unavailable, "the database is suspect"),
    927: (Unavailable, "the database is being restored"),
    942: (Unavailable, "the database is offline"),
    945: (Unavailable, "the database lacks files or memory"),
    952: (Unavailable, "the database is in transition"),
    976: (Unavailable, "availability group: a secondary"),
    978: (Unavailable, "availability group: a secondary that takes readers only"),
    983: (Unavailable, "availability group: neither primary nor readable"),
    1101: (Unavailable, "the disk is full"),
    1105: (Unavailable, "the filegroup is full"),
    1204: (Unavailable, "no lock can be had"),
    1222: (Unavailable, "a lock was waited for too long"),
    1221: (Unavailable, "the lock was lost"),
    3906: (Unavailable, "the database is read-only"),
    3908: (Unavailable, "the database is in emergency mode"),
    3930: (Unavailable, "the transaction is doomed"),
    3998: (Unavailable, "the transaction was left uncommittable"),
    4060: (Unavailable, "the database cannot be opened: there is none, it fails over, or the login is no user of it"),
    4221: (Unavailable, "a secondary waits for row versions"),
    6005: (Unavailable, "the server shuts down"),
    8645: (Unavailable, "no memory grant in time"),
    8651: (Unavailable, "no memory grant"),
    9001: (Unavailable, "the log is not available"),
    9002: (Unavailable, "the log is full"),
    10928: (Unavailable, "Azure: a limit of resources"),
    10929: (Unavailable, "Azure: the server is too busy"),
    17142: (Unavailable, "the server is paused"),
    17197: (Unavailable, "the login timed out"),
    17830: (Unavailable, "the login was cut off"),
    18401: (Unavailable, "the server upgrades itself"),
    18451: (Unavailable, "the server lets administrators in only"),
    18461: (Unavailable, "the server is in single-user mode"),
    40143: (Unavailable, "Azure: the service has an error"),
    40166: (Unavailable, "Azure: the database is reconfigured"),
    40197: (Unavailable, "Azure: the service has an error"),
    40501: (Unavailable, "Azure: the service is busy"),
    40540: (Unavailable, "Azure: the service has an error"),
    40544: (Unavailable, "Azure: the database has reached its size"),
    40549: (Unavailable, "Azure: a long transaction was ended"),
    40550: (Unavailable, "Azure: too many locks"),
    40551: (Unavailable, "Azure: too much of tempdb"),
    40552: (Unavailable, "Azure: too much of the log"),
    40553: (Unavailable, "Azure: too much memory"),
    40613: (Unavailable, "Azure: the database is not available now"),
    40627: (Unavailable, "Azure: the server is being changed"),
    41301: (Unavailable, "memory-optimised table: a transaction this one depends on has failed"),
    41839: (Unavailable, "memory-optimised table: too many dependencies"),
    49918: (Unavailable, "Azure: not enough resources"),
    49919: (Unavailable, "Azure: too many operations"),
    49920: (Unavailable, "Azure: too many operations"),
}
"""Each number's reaction and what the server means by it."""

_STATES: Final[tuple[tuple[str, Reaction], ...]] = (
    ("40", Conflict),  # transaction rollback
    ("23", Conflict),  # integrity constraint
    ("22", Unprocessable),  # data exception: the driver's own, before anything is sent
    ("28", Misconfigured),  # authorisation
    ("IMC", Unavailable),  # the driver's: the connection broke, and could not be recovered
    ("IM", Misconfigured),  # the driver manager: no such driver or data source
)
"""By the beginnings of SQLSTATEs; any other (08 connection, HYT time-outs) is Unavailable."""

_WORDS: Final[tuple[tuple[str, Reaction], ...]] = (
    ("certificate verify failed", Misconfigured),  # TLS to a server that nobody vouches for; its state is 08001
    ("Can't open lib", Misconfigured),  # the driver manager's, with the state of a warning
)

_PRECEDENCE: Final = (Outrun, Unavailable, Conflict, Misconfigured, Unprocessable)
"""Of several errors in one message: what rejects nothing comes first."""

_NUMBER: Final = re.compile(r"\((\d+)\) \(SQL\w+\)(?=$|; \[\w{5}\] \[)")
"""How the driver ends each of its messages. Elsewhere the same form is somebody's text, quoted by the server."""


def reaction(error: BaseException) -> Conflict | Misconfigured | Outrun | Unavailable | Unprocessable:
    """The worker's error for one of pyodbc's, whose arguments are a SQLSTATE and a text."""
    state, text = (str(part) for part in error.args[:2]) if len(error.args) > 1 else ("", str(error))
    numbers = [NUMBERS[number][0] for number in map(int, _NUMBER.findall(text)) if number in NUMBERS]
    for wanted in _PRECEDENCE:
        if wanted in numbers:
            return wanted(f"SQL Server: {text}")
    for words, called_for in _WORDS:
        if words in text:
            return called_for(f"SQL Server: {text}")
    for beginning, called_for in _STATES:
        if state.startswith(beginning):
            return called_for(f"SQL Server: {text}")
    return Unavailable(f"SQL Server: {text or repr(error)}")
