"""`rudder-worker gateway`: HTTP for publishers that cannot speak Kafka."""

import structlog
import typer

from worker.cli.exits import clear_errors
from worker.cli.run import HangUp, run_until_signal
from worker.environment_variables import environment
from worker.service import log_setup
from worker.service.supervisor import Stop, supervise
from worker.settings import Settings, load, unknown_names
from worker.telemetry import LogEvent


def gateway(context: typer.Context) -> None:
    """Accept CloudEvents and webhooks over HTTP, and forward them to Kafka, until SIGTERM, SIGINT or SIGQUIT.

    A request is answered with 202 once Kafka has acknowledged it. The first signal waits for requests in progress.
    SIGHUP reads RUDDER_GATEWAY_KEYS_FILE again.
    """
    with clear_errors(interruptible=False):
        log_setup.configure(level="info", log_format=context.obj)
        settings = load()
        log_setup.configure(level=settings.log_level, log_format=context.obj)
        for problem in unknown_names(environment()):
            structlog.get_logger("worker.settings").warning(LogEvent.SETTING_UNKNOWN, problem=problem)
        run_until_signal(lambda stop, hang_up: _serve(settings, stop, hang_up))


async def _serve(settings: Settings, stop: Stop, hang_up: HangUp) -> None:
    from worker.assembly.gateway import GRACE_SECONDS, KEYS_SERVICE, LAST_SERVICES, services
    from worker.gateway.keys import LiveKeys

    serving = services(settings)
    if isinstance(keys := serving[KEYS_SERVICE], LiveKeys):
        hang_up.react = keys.request_reload
    await supervise(serving, stop, grace_seconds=GRACE_SECONDS + 1, last=LAST_SERVICES)
