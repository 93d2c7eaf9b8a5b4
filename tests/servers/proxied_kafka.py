"""An Apache Kafka that clients reach by ways of their own, each through a proxy's port: a Kafka client asks its first
server where the others are, and would leave a proxy that the server does not know of.
"""

from tests.servers.apache_kafka import ApacheKafka
from worker.demo.broker import free_port


class ProxiedKafka(ApacheKafka):
    """`ways`: for each, the port on which it listens and the one that it tells clients to come to."""

    def __init__(self, *, ways: int) -> None:
        self.ways = tuple((free_port(), free_port()) for _ in range(ways))
        super().__init__()

    def _more(self) -> tuple[dict[str, str], list[str]]:
        names = [f"WAY{number}" for number in range(len(self.ways))]
        ports = list(zip(names, self.ways, strict=True))
        return {
            "listeners": "".join(f",{name}://127.0.0.1:{listens}" for name, (listens, _) in ports),
            "advertised.listeners": "".join(f",{name}://127.0.0.1:{told}" for name, (_, told) in ports),
            "listener.security.protocol.map": ",".join(
                f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *names)
            ),
        }, []
