"""`rudder-worker` that gives up a refused login after seconds, so that a test need not wait a minute."""

from worker.__main__ import main
from worker.service import broker_monitor

broker_monitor.REFUSED_SECONDS_MAX = 2.0

if __name__ == "__main__":
    main()
