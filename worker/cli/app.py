"""The command `rudder-worker`: its subcommands and its global options."""

from typing import Annotated, Literal

import typer

from worker.cli import check_config, demo, migrate, publish, run, validate, verify
from worker.version import __version__

app = typer.Typer(
    name="rudder-worker",
    help="Turns what CI/CD systems say about releases and deployments into rows that a company can trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("demo")(demo.demo)
app.command("migrate")(migrate.migrate)
app.command("check-config")(check_config.check_config)
app.command("publish")(publish.publish)
app.command("validate")(validate.validate)
app.command("verify")(verify.verify)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"rudder-worker {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    log_format: Annotated[
        Literal["json", "console"] | None,
        typer.Option(help="How logs look on standard error; console at a terminal, else json."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version
    context.obj = log_format


def main() -> None:
    app(prog_name="rudder-worker")
