"""A secured Apache Kafka: TLS, TLS with client certificates, and SCRAM over TLS, each on a port of its own.

The command `openssl` creates its certificate authority and all certificates; they are deleted with it.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.testkit.apache_kafka import ApacheKafka
from tests.testkit.kafka_jars import KafkaUnavailable

USER, PASSWORD = "rudder", "s3cr3t-of-the-test"
KEY_PASSWORD = "k3y-of-the-test"


class SecuredKafka(ApacheKafka):
    """Has secured ports beside the plain port of `ApacheKafka`, which the test uses."""

    @property
    def tls(self) -> str:
        return f"127.0.0.1:{self._ports['TLS']}"

    @property
    def mutual_tls(self) -> str:
        return f"127.0.0.1:{self._ports['MUTUAL']}"

    @property
    def scram(self) -> str:
        return f"127.0.0.1:{self._ports['SCRAM']}"

    def file(self, name: str) -> str:
        """`ca.pem`; `other-ca.pem`, which the broker does not trust; `client.pem` with its encrypted `client.key`;
        `other.pem` with `other.key`, signed by the other authority.
        """
        return str(self._folder / name)

    def set_password(self, user: str, password: str) -> None:
        """Sets the password of a SCRAM user, and creates the user if needed. Open connections stay logged in."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        mechanism = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = UserScramCredentialUpsertion(user, mechanism, password.encode())
        for done in admin.alter_user_scram_credentials([wanted]).values():
            done.result(30)

    @contextmanager
    def denied(self, user: str, operation: AclOperation, kind: ResourceType, name: str) -> Iterator[None]:
        """Denies the user one operation on one topic or group; all others stay allowed."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        rule = AclBinding(
            kind, name, ResourcePatternType.LITERAL, f"User:{user}", "*", operation, AclPermissionType.DENY
        )
        anyone = AclBinding(
            kind, name, ResourcePatternType.LITERAL, "User:*", "*", AclOperation.ALL, AclPermissionType.ALLOW
        )
        for created in admin.create_acls([anyone, rule]).values():
            created.result(30)
        try:
            yield
        finally:
            any_principal: Any = None  # and any host: the library's annotations do not allow None
            found = AclBindingFilter(
                kind,
                name,
                ResourcePatternType.LITERAL,
                any_principal,
                any_principal,
                AclOperation.ANY,
                AclPermissionType.ANY,
            )
            for deleted in admin.delete_acls([found]).values():
                deleted.result(30)

    def _more(self) -> tuple[dict[str, str], list[str]]:
        self._ports = {name: self._reserved.take() for name in ("TLS", "MUTUAL", "SCRAM")}
        self._certificates()
        listeners = "".join(f",{name}://127.0.0.1:{port}" for name, port in self._ports.items())
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        settings = {
            "listeners": listeners,
            "advertised.listeners": listeners,
            "listener.security.protocol.map": (
                "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,MUTUAL:SSL,SCRAM:SASL_SSL"
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.file("server-all.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.file("ca.pem"),
            "listener.name.mutual.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
            "super.users": "User:ANONYMOUS",
            "listener.name.scram.scram-sha-512.sasl.jaas.config": scram,
        }
        return settings, ["--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"]

    def _certificates(self) -> None:
        for authority in ("ca", "other-ca"):
            self._openssl(
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={authority}",
                "-keyout", self.file(f"{authority}.key"), "-out", self.file(f"{authority}.pem"),
            )  # fmt: skip
        for name in ("server", "client", "other"):
            authority = "other-ca" if name == "other" else "ca"
            protection = ["-nodes"] if name == "server" else ["-passout", f"pass:{KEY_PASSWORD}"]
            self._openssl(
                "req", "-newkey", "rsa:2048", *protection, "-subj", f"/CN={name}",
                "-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.csr"),
            )  # fmt: skip
            extensions = Path(self.file(f"{name}.ext"))
            extensions.write_text("subjectAltName=IP:127.0.0.1\n", encoding="ascii")
            self._openssl(
                "x509", "-req", "-in", self.file(f"{name}.csr"), "-days", "2", "-extfile", str(extensions),
                "-CA", self.file(f"{authority}.pem"), "-CAkey", self.file(f"{authority}.key"), "-CAcreateserial",
                "-out", self.file(f"{name}.pem"),
            )  # fmt: skip
        parts = [Path(self.file(name)).read_text("ascii") for name in ("server.key", "server.pem", "ca.pem")]
        Path(self.file("server-all.pem")).write_text("".join(parts), encoding="ascii")

    def _openssl(self, *arguments: str) -> None:
        command = shutil.which("openssl")
        if command is None:
            raise KafkaUnavailable("there is no openssl to make its certificates")
        subprocess.run([command, *arguments], check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
