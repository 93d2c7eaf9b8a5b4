"""`rudder-worker` for shells: a program that has the fork server run the command, and ends as the command does.

The pages have shells start many commands, each of which would import the worker again. The program forwards signals,
except SIGKILL; Ctrl-C goes to all processes of the command, as in a terminal.
"""

import json
import os
import shutil
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.testkit.fork_server import AVAILABLE, fork

NAME: Final = "rudder-worker"
_MODULE: Final = "worker"
_MESSAGE_BYTES_MAX: Final = 256 * 1024
_STREAMS: Final = 3

_PROGRAM: Final = """\
#!{python} -IS
import json, os, signal, socket, sys

forwarded = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
signal.pthread_sigmask(signal.SIG_BLOCK, forwarded)
connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
connection.connect({address!r})
request = [sys.argv[1:], dict(os.environ), os.getcwd()]
socket.send_fds(connection, [json.dumps(request).encode()], [0, 1, 2])
_, _, pid = connection.recv({bytes_max}).decode().partition(" ")

def forward(number, _frame):
    try:
        (os.killpg if number in (signal.SIGINT, signal.SIGQUIT) else os.kill)(int(pid), number)
    except ProcessLookupError:
        pass

for number in forwarded:
    signal.signal(number, forward)
signal.pthread_sigmask(signal.SIG_UNBLOCK, forwarded)
_, _, code = connection.recv({bytes_max}).decode().partition(" ")
if int(code) < 0:
    signal.signal(-int(code), signal.SIG_DFL)
    os.kill(os.getpid(), -int(code))
os._exit(int(code))
"""


@contextmanager
def forked_command() -> Iterator[Path]:
    """The folder of the program. Where there is no fork server, the folder of the installed command."""
    if not AVAILABLE:
        yield Path(sys.executable).parent
        return
    folder = Path(tempfile.mkdtemp(prefix="rudder-command-"))
    address, program = folder / "requests", folder / NAME
    text = _PROGRAM.format(python=sys.executable, address=str(address), bytes_max=_MESSAGE_BYTES_MAX)
    program.write_text(text, encoding="utf-8")
    program.chmod(stat.S_IRWXU)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(address))
            listener.listen()
            serving = threading.Thread(target=_serve, args=(listener,), name=NAME)
            serving.start()
            yield folder
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()
    finally:
        shutil.rmtree(folder)


def _serve(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # it was shut down
            return
        with connection:
            content, descriptors, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES_MAX, _STREAMS)
            arguments, environment, directory = json.loads(content)
            fork(_MODULE, arguments, environment, Path(directory), [*descriptors, connection.fileno()])
            for descriptor in descriptors:
                os.close(descriptor)
