"""The option `--log-format`, accepted before and after a command's name."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Literal

import typer

from worker.service import log_setup


def _choose(context: typer.Context, log_format: log_setup.LogFormat | None) -> log_setup.LogFormat | None:
    if log_format is not None:
        context.obj = log_format
        log_setup.configure(level="info", log_format=log_format)  # for errors before the command configures logging
    return log_format


LogFormatOption = Annotated[
    Literal["json", "console"] | None,
    typer.Option(
        "--log-format",
        help="Format of logs and errors on standard error. Default: json for run and migrate without a terminal.",
        callback=_choose,
        is_eager=True,
    ),
]


def with_log_format(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the option added. The chosen format is the context's `obj`."""

    @wraps(command)
    def wrapped(*arguments: Any, log_format: log_setup.LogFormat | None = None, **options: Any) -> None:
        del log_format
        command(*arguments, **options)

    signature = inspect.signature(command)
    option = inspect.Parameter("log_format", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=LogFormatOption)
    wrapped.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]  # what `inspect` and Typer read
    wrapped.__annotations__ = {**command.__annotations__, "log_format": LogFormatOption}
    return wrapped
