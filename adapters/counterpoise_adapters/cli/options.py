"""The options of ``counterpoise weigh``, and which combinations of them make sense."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import InputError
from .files import Table, check_destination, file_format, open_table
from .pairs import PairTable

__all__ = ["InputOptions", "WeighOptions", "check_choices", "check_options", "open_input"]


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Which file, which of its rows are target samples, and what the features are: common to the commands."""

    data: Path
    target: tuple[str, ...] = ()
    target_file: Path | None = None
    group: str | None = None
    pool: bool = False
    answers: str | None = None
    correct: str | None = None
    sources: str | None = None
    embedder: str | None = None
    allow_null: bool = False


@dataclass(frozen=True, kw_only=True)
class WeighOptions(InputOptions):
    """The options of ``counterpoise weigh``, under their names on the command line."""

    out: Path
    report: Path
    text: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    method: Literal["classifier", "ulsif"] = "classifier"
    folds: int = 5
    calibrate: Literal["platt", "temperature"] | None = "platt"
    cap: float | None = None
    fit_rows: int = 50_000
    seed: int = 0
    prefix: str = ""
    force: bool = False
    engine: Literal["local", "ray"] = "local"
    on_error: Literal["stop", "skip"] = "stop"
    batch_size: int = 2048
    workers: int | None = None
    worker_cpus: float = 1.0
    worker_gpus: float = 0.0
    ray_address: str | None = None


def check_options(options: WeighOptions) -> None:
    """Refuse options that contradict each other, and destinations that must not be written.

    Parameters
    ----------
    options : WeighOptions
        From the command line.
    """
    check_choices(options)
    inputs = [options.data, *([options.target_file] if options.target_file is not None else [])]
    kinds = [file_format(path) for path in (options.data, options.out)]
    if options.answers is not None and kinds[1] != "jsonl":
        raise InputError("pairs of --answers are written as JSON Lines: end the name in .jsonl", path=options.out)
    if options.answers is None and kinds[0] != kinds[1]:
        raise InputError(f"the output has the input's format, {kinds[0]}: end its name so", path=options.out)
    for path in (options.out, options.report):
        check_destination(path, inputs=inputs, force=options.force)


def check_choices(options: WeighOptions) -> None:
    """Refuse options that contradict each other.

    Parameters
    ----------
    options : WeighOptions
        From the command line.
    """
    if options.target and options.target_file is not None:
        raise InputError("--target and --target-file both say which samples are target samples; give one of them")
    if not options.target and options.target_file is None:
        raise InputError("say which samples are target samples: --target COLUMN=VALUE or --target-file FILE")
    if options.pool and options.target_file is not None:
        raise InputError("--pool is for --target; with --target-file INPUT is one pool already")
    if options.method == "ulsif" and options.calibrate is not None:
        raise InputError("--calibrate is for log-odds of classifiers; leave it out with --method ulsif")
    if options.method == "ulsif" and options.answers is not None:
        raise InputError("--answers needs --method classifier")
    if options.cap is not None and not 0.0 < options.cap < float("inf"):
        raise InputError(f"--cap is {options.cap}; it must be positive and finite, such as 5")
    if options.out.absolute() == options.report.absolute():
        raise InputError("the report would replace the weighed file; name another with --report", path=options.out)


def open_input(options: InputOptions) -> Table:
    """Return the table to work on: the file itself, or the pairs of its answers.

    Parameters
    ----------
    options : InputOptions
        From the command line.
    """
    if (options.answers is None) != (options.correct is None):
        raise InputError("--answers and --correct go together: answers by source, and which are right")
    if options.sources is not None and options.answers is None:
        raise InputError("--sources selects among --answers; it needs --answers and --correct")
    table = open_table(options.data)
    if options.answers is None or options.correct is None:
        return table
    if options.target_file is not None or len(options.target) != 1:
        raise InputError("with --answers give one --target, the source whose pairs are the target")
    names = [name.strip() for name in options.sources.split(",")] if options.sources is not None else None
    return PairTable(table, answers=options.answers, correct=options.correct, target=options.target[0], sources=names)
