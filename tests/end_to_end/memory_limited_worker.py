"""`rudder-worker` with at most 512 MB of data, as a container's limit has it."""

import resource

from worker.__main__ import main

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_DATA, (512 * 1024 * 1024, 512 * 1024 * 1024))
    main()
