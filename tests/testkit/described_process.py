"""A program for the tests of the fork server: it does what its first argument says."""

import atexit
import os
import signal
import sys
import threading
import time
from pathlib import Path


def main(action: str, *rest: str) -> None:
    match action:
        case "describe":
            shown = {name: value for name, value in os.environ.items() if name != "LC_CTYPE"}
            print(
                __name__, sys.argv, sys.orig_argv[1:], sorted(shown.items()), Path.cwd(), sys.path[0], sys.stdin.read()
            )
            print(time.tzname, os.getsid(0) == os.getpgid(0) == os.getpid(), sys.stdout.isatty(), sys.stdout.encoding)
            print({number: str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE)})
        case "descriptors":
            found = sorted(int(one.name) for one in Path("/proc/self/fd").iterdir())
            print([one for one in found if Path(f"/proc/self/fd/{one}").exists()])
        case "exit":
            sys.exit(int(rest[0]))
        case "outlive":
            atexit.register(print, "last")
            threading.Thread(target=print_after_the_program).start()
            sys.exit("--fail" in rest)
        case "raise":
            raise LookupError
        case "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
            signal.pause()
        case "wait":
            signal.pause()


def print_after_the_program() -> None:
    threading.main_thread().join()
    print("thread")


if __name__ == "__main__":
    main(*sys.argv[1:])
