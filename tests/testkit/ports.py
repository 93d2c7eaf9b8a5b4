"""Ports of 127.0.0.1 that servers keep over their restarts."""

import socket

from worker.demo.broker import free_port


class ReservedPorts:
    """While a server is down, no other one is given its ports. `close` gives them back.

    A bound socket that does not listen keeps a port from `free_port`, of any process. The server can listen there all
    the same: both sockets allow the reuse of the address.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def take(self) -> int:
        while True:
            reserving = socket.socket()
            try:
                reserving.bind(("127.0.0.1", port := free_port()))
            except OSError:
                reserving.close()  # another process was faster
                continue
            reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._sockets.append(reserving)
            return port

    def close(self) -> None:
        for reserving in self._sockets:
            reserving.close()
        self._sockets.clear()
