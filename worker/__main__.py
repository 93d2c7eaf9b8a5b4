"""`python -m worker` is `rudder-worker`."""

from worker.cli.app import main

if __name__ == "__main__":
    main()
