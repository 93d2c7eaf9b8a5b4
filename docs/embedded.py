"""The script of the tools for publishers, copied into their files.

`make reference` has cog put it between `[[[cog` and `[[[end]]]` in integrations/. So each of these files works alone.
"""

from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "integrations" / "rudder-event.sh"


def script() -> str:
    """Without its first line, which names the shell."""
    return SCRIPT.read_text(encoding="utf-8").partition("\n")[2]
