"""``counterpoise weigh``: a file in, the same rows with their weights and a report out."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import parameters as p

__all__ = ["weigh"]

Files, Rows, Model, Work = p.FILES, p.ROWS, "Model", "Many files, many machines"


def weigh(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="JSONL(.gz), CSV(.gz), TSV(.gz) or Parquet; a folder or 'pattern*' of them."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The weighed file, of the same format; for many files a folder.", rich_help_panel=Files
        ),
    ],
    target: Annotated[list[str] | None, p.target("rows")] = None,
    target_file: Annotated[
        Path | None,
        typer.Option(help="Or: a second file of target samples, weighing INPUT towards it.", rich_help_panel=Rows),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="Text column; repeatable; dots reach inside (answers.fid).", rich_help_panel=Rows),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            help="Or: column of numbers or of embeddings; repeatable; emb_* matches names.",
            rich_help_panel=Rows,
        ),
    ] = None,
    group: Annotated[str | None, p.group("share a fold")] = None,
    pool: p.Pool = False,
    answers: Annotated[str | None, p.answers("weigh")] = None,
    correct: p.Correct = None,
    sources: p.Sources = None,
    embedder: Annotated[str | None, p.embedder(Model)] = None,
    allow_null: p.AllowNull = False,
    method: Annotated[
        Literal["classifier", "ulsif"],
        typer.Option(
            help="Logistic regressions on the rows drawn, or least squares from sums over every row.",
            rich_help_panel=Model,
        ),
    ] = "classifier",
    folds: Annotated[int, typer.Option(help="Folds of the cross-fit.", min=2, rich_help_panel=Model)] = 5,
    calibrate: Annotated[
        Literal["platt", "temperature", "none"] | None,
        typer.Option(help="Of a classifier's log-odds; default: platt.", rich_help_panel=Model),
    ] = None,
    cap: Annotated[
        float | None,
        typer.Option(help="Largest ratio that counts; weights are rescaled after it.", rich_help_panel=Model),
    ] = None,
    fit_rows: Annotated[
        int,
        typer.Option(help="Learn from a sample of so many rows of a larger file.", min=100, rich_help_panel=Model),
    ] = 50_000,
    seed: Annotated[int, typer.Option(help="Of the sample and the folds.", min=0, rich_help_panel=Model)] = 0,
    report: Annotated[
        Path | None,
        typer.Option(help="HTML report; default: OUT with the ending .html.", rich_help_panel=Files),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="Put before the names ratio, weight and log_odds.", rich_help_panel=Files)
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Replace OUT and the report if they exist.", rich_help_panel=Files)
    ] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="Work in this process, or on a Ray cluster: the weights are the same.", rich_help_panel=Work),
    ] = "local",
    on_error: Annotated[
        Literal["stop", "skip"],
        typer.Option(help="At a file that cannot be read: stop, or set it aside.", rich_help_panel=Work),
    ] = "stop",
    batch_size: Annotated[
        int, typer.Option(help="Rows in memory, and given to the embedder, at once.", min=1, rich_help_panel=Work)
    ] = 2048,
    workers: Annotated[
        int | None,
        typer.Option(help="Most Ray workers at once; default: all the cluster has.", min=1, rich_help_panel=Work),
    ] = None,
    worker_cpus: Annotated[float, typer.Option(help="CPUs of each Ray worker.", min=0.0, rich_help_panel=Work)] = 1.0,
    worker_gpus: Annotated[
        float, typer.Option(help="GPUs of each Ray worker that embeds.", min=0.0, rich_help_panel=Work)
    ] = 0.0,
    ray_address: Annotated[
        str | None,
        typer.Option(help="Of a running cluster; default: RAY_ADDRESS, or a new one here.", rich_help_panel=Work),
    ] = None,
) -> None:
    """Weigh the rows of INPUT so that they stand for the target rows.

    Writes the same rows in the same order with `ratio` (how much likelier a row is under the target than
    in the file), `weight` (the ratio with mean 1) and `log_odds`, and a report that says whether to use them.

    Example: `counterpoise weigh pairs.jsonl --target source=human --text prompt --text chosen --out
    weighed.jsonl`
    """
    from .options import WeighOptions
    from .weighing import run

    if calibrate is None:
        calibrate = "platt" if method == "classifier" else "none"
    run(
        WeighOptions(
            data=data, out=out, report=report if report is not None else _beside(out), force=force,
            prefix=prefix, target=tuple(target or ()), target_file=target_file, text=tuple(text or ()),
            features=tuple(features or ()), group=group, pool=pool, answers=answers, correct=correct,
            sources=sources, embedder=embedder, allow_null=allow_null, method=method, folds=folds,
            calibrate=None if calibrate == "none" else
            calibrate, cap=cap, fit_rows=fit_rows, seed=seed, engine=engine,
            on_error=on_error, batch_size=batch_size, workers=workers, worker_cpus=worker_cpus,
            worker_gpus=worker_gpus, ray_address=ray_address,
        )
    )  # fmt: skip


def _beside(out: Path) -> Path:
    """Return the report's path: ``out.jsonl.gz`` becomes ``out.html``."""
    name = out.name.removesuffix(".gz")
    return out.with_name(Path(name).stem + ".html")
