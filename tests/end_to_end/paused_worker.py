"""`rudder-worker` that is paused once between a transaction and its publication, as a virtual machine may be.

It stops itself where the file `PAUSE` is in its folder, and removes that; SIGCONT continues it.
"""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from worker.__main__ import main
from worker.kafka.publisher import KafkaPublisher
from worker.ports import OutgoingRecord

PAUSE = "pause"

_publish = KafkaPublisher.publish


async def _paused(self: KafkaPublisher, outgoing: Sequence[OutgoingRecord]) -> None:
    _pause()
    await _publish(self, outgoing)


def _pause() -> None:
    pause = Path(PAUSE)
    if pause.exists():
        pause.unlink()
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    KafkaPublisher.publish = _paused  # type: ignore[method-assign]
    main()
