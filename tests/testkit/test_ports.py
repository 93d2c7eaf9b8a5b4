"""A reserved port stays its server's: also while the server is down."""

import socket
from collections.abc import Iterator

import pytest

from tests.testkit.ports import ReservedPorts


@pytest.fixture
def reserved() -> Iterator[ReservedPorts]:
    ports = ReservedPorts()
    yield ports
    ports.close()


def is_free(port: int) -> bool:
    """As `free_port` looks."""
    with socket.socket() as candidate:
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def test_reserved_port_is_free_to_its_server_only(reserved: ReservedPorts) -> None:
    port = reserved.take()
    for _ in range(2):  # a restart
        with socket.create_server(("127.0.0.1", port)):
            with socket.create_connection(("127.0.0.1", port)):
                assert not is_free(port)
            assert not is_free(port)
        assert not is_free(port)


def test_reserved_port_without_its_server_refuses_clients(reserved: ReservedPorts) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", reserved.take()))


def test_ports_are_given_back(reserved: ReservedPorts) -> None:
    ports = [reserved.take() for _ in range(5)]
    assert len(set(ports)) == 5
    reserved.close()
    assert all(is_free(port) for port in ports)
