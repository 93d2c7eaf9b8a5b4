"""The one place that constructs the parts and wires them together. Nothing here waits or decides."""

import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from worker.db.store import SqlStore
from worker.db.table_reader import SqlTableReader
from worker.domain.decide import decide
