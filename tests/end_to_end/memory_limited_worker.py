"""`rudder-worker` with at most 512 MB of data, like a container with a memory limit."""

import resource

from worker.__main__ import main

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (512 * 1024 * 1024, 512 * 1024 * 1024))
    main()
