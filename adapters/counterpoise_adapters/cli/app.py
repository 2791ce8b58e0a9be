"""The commands of ``counterpoise``, registered in one place."""

from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

from . import interruptible

__all__ = ["app"]

app = typer.Typer(
    name="counterpoise",
    help="Weights that hold a model steady when its training data are not the data it will be judged on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        import counterpoise

        print(f"counterpoise {counterpoise.__version__}")
        raise typer.Exit


@app.callback()
def _commands(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Keep `counterpoise COMMAND` a group of commands, however many are registered."""


for _name in ("weigh", "advise", "compare", "demo"):
    if find_spec(f"{__package__}.{_name}") is not None:
        app.command(_name)(interruptible(getattr(import_module(f"{__package__}.{_name}"), _name)))
