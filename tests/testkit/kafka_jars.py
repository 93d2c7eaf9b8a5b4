"""Where Apache Kafka's jars come from: an installed Kafka, or Maven once and the repository's cache ever after."""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POM = Path(__file__).parent / "kafka" / "pom.xml"
_CACHE = Path(__file__).parents[2] / ".cache" / "kafka"
_MAVEN_TIMEOUT_SECONDS = 600
_OUTPUT_TAIL_CHARACTERS = 2_000
_JAVA_MIN = 17


class KafkaUnavailable(Exception):
    """There is no Apache Kafka to start on this machine; the message says why."""


def kafka_jars() -> Path:
    """The folder with every jar that Kafka needs: KAFKA_HOME/libs, the cache, or Maven's answer. KafkaUnavailable."""
    if home := os.environ.get("KAFKA_HOME"):
        libs = Path(home) / "libs"
        if not any(libs.glob("kafka_*.jar")):
            raise KafkaUnavailable(f"KAFKA_HOME is set, and {libs} holds no Kafka")
        return libs
    pom = _POM.read_bytes()
    jars = _CACHE / kafka_version() / "libs"
    # The mark holds the pom's digest and is written last: half a download, or one for another pom, does not count.
    mark = jars.parent / "resolved"
    digest = hashlib.sha256(pom).hexdigest()
    if _holds(mark, digest):
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    with locked(jars.parent / "lock"):
        if not _holds(mark, digest):
            shutil.rmtree(jars, ignore_errors=True)
            _resolve(jars)
            mark.write_text(digest, encoding="ascii")
    return jars


def kafka_version() -> str:
    """The version that the pom asks for."""
    found = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", _POM.read_text(encoding="utf-8"))
    assert found is not None, "the pom names no kafka.version"
    return found[1]


def class_archive(java: Path, jars: Path) -> Path:
    """Where the JVM's archive of Kafka's classes is, once it was made. The name has all that the JVM compares."""
    version = subprocess.run([java, "-version"], check=True, capture_output=True, timeout=60).stderr
    files = [(str(jar), jar.stat().st_size, jar.stat().st_mtime_ns) for jar in sorted(jars.glob("*.jar"))]
    name = hashlib.sha256(version + repr(files).encode()).hexdigest()[:16]
    return _CACHE / "classes" / f"{name}.jsa"


def java() -> Path:
    """The `java` of JAVA_HOME, else of PATH. KafkaUnavailable if there is none, or it is too old for Kafka 4."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if found is None:
        raise KafkaUnavailable(f"there is no Java: {_JAVA_MIN} or later is needed")
    answer = subprocess.run([found, "-version"], check=False, capture_output=True, text=True, timeout=60)
    version = re.search(r'version "(\d+)', answer.stderr)
    if version is None or int(version[1]) < _JAVA_MIN:
        raise KafkaUnavailable(f"{found} is not Java {_JAVA_MIN} or later: {answer.stderr.strip()}")
    return Path(found)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While this process alone holds the lock file."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _resolve(jars: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailable("the jars are not in the cache and there is no Maven to fetch them (or set KAFKA_HOME)")
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
    output = ""
    # Offline first: where the machine's own Maven repository has them all, the network need not be there.
    for online in (["-o"], []):
        done = subprocess.run(
            [maven, "-q", "-B", *online, "-f", str(_POM), *goal],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_MAVEN_TIMEOUT_SECONDS,
        )
        if done.returncode == 0:
            return
        output = done.stdout
    raise KafkaUnavailable(f"Maven could not fetch the jars: {output[-_OUTPUT_TAIL_CHARACTERS:]}")


def _holds(mark: Path, digest: str) -> bool:
    return mark.is_file() and mark.read_text(encoding="ascii") == digest
