"""An Apache Kafka whose clients can be disconnected by proxies, while the broker and the test go on.

Clients connect to the addresses in the broker's metadata. So the broker has a listener for each way, and advertises the
port of that way's proxy there.
"""

from typing import NamedTuple

from tests.testkit.apache_kafka import ApacheKafka


class Way(NamedTuple):
    """`behind`: the port of the broker's listener. `port`: the advertised port, which is a proxy's."""

    behind: int
    port: int

    @property
    def bootstrap_servers(self) -> str:
        return f"127.0.0.1:{self.port}"


class ProxiedKafka(ApacheKafka):
    """Has these ways beside the plain port of `ApacheKafka`, which the test uses. The test runs the proxies."""

    def __init__(self, *, ways: int = 1) -> None:
        self._ways_count = ways
        self.ways: tuple[Way, ...] = ()
        super().__init__()

    def move(self, number: int) -> Way:
        """Replaces the advertised port of the way; the broker uses it from its next start on."""
        old, new = self.ways[number], self.ways[number]._replace(port=self._reserved.take())
        text = self._configuration.read_text("utf-8")
        told = f"WAY{number}://127.0.0.1:"
        assert text.count(f"{told}{old.port}") == 1
        self._configuration.write_text(text.replace(f"{told}{old.port}", f"{told}{new.port}"), "utf-8")
        self.ways = (*self.ways[:number], new, *self.ways[number + 1 :])
        return new

    def _more(self) -> tuple[dict[str, str], list[str]]:
        self.ways = tuple(Way(self._reserved.take(), self._reserved.take()) for _ in range(self._ways_count))
        ways = {f"WAY{number}": way for number, way in enumerate(self.ways)}
        protocols = (f"{name}:PLAINTEXT" for name in ("PLAINTEXT", "CONTROLLER", *ways))
        return {
            "listeners": "".join(f",{name}://127.0.0.1:{way.behind}" for name, way in ways.items()),
            "advertised.listeners": "".join(f",{name}://127.0.0.1:{way.port}" for name, way in ways.items()),
            "listener.security.protocol.map": ",".join(protocols),
            "inter.broker.listener.name": "PLAINTEXT",
        }, []
