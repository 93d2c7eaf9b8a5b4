"""What a process is started with: variables, and a `.env` file in its folder."""

import os
from pathlib import Path

import pytest

SECRET = "p@ss/w#rd%:?&=;ü\"'{}\\"
"""Whatever an escape could go wrong with."""

SASL = {
    "RUDDER_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "RUDDER_KAFKA_SASL_USERNAME": "rudder",
    "RUDDER_KAFKA_SASL_PASSWORD": SECRET,
}


class Environment:
    """An empty folder and no setting, until some are given. Undone with the test's `monkeypatch`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self.folder = folder
        for name in [name for name in os.environ if name.upper().startswith("RUDDER_")]:
            monkeypatch.delenv(name)
        monkeypatch.chdir(folder)

    def set(self, variables: dict[str, str]) -> None:
        for name, value in variables.items():
            self._monkeypatch.setenv(name, value)

    def write(self, variables: dict[str, str]) -> None:
        (self.folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))

    def give(self, where: str, variables: dict[str, str]) -> None:
        (self.set if where == "environment" else self.write)(variables)
