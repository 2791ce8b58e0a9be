"""The work behind ``counterpoise weigh`` on a corpus of several files: five stages over the shards.

1. Scan: read and check every row, count the sources, sketch what is to be drawn.  2. Draw: the features of the rows to
learn from.  3. Fit, to these or to sums over every row.  4. Score every row.  5. Write every shard.  Each stage is done
shard by shard by an `Engine` and noted in a `Journal`.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from counterpoise_adapters.cli.errors import InputError, said
from counterpoise_adapters.cli.files import check_destination, file_format
from counterpoise_adapters.cli.options import WeighOptions
from counterpoise_adapters.cli.progress import console
from counterpoise_adapters.cli.rows import TargetFilter

from .engine import Engine, LocalEngine
from .fit import FitJob, Fitted
from .jobs import DrawJob, Facts, ScanJob, ScoreJob, WriteJob
from .journal import Journal, basis_of
from .passes import no_rows
from .results import conclude
from .sample import Draw, choose
from .shards import Layout, Shard, check_apart, is_corpus, lay_out
from .spec import Spec, name_sources
from .state import Run, SetAsideError, heading
from .strata import Strata
from .tally import Scores, Tally, add

__all__ = ["run_corpus", "spec_of"]


def run_corpus(options: WeighOptions, engine: Engine | None = None) -> None:
    """Weigh a corpus, write its shards and the report, and print a summary.

    Parameters
    ----------
    options : WeighOptions
        From the command line.
    engine : Engine, optional
        Where to work; in this process by default.
    """
    spec = spec_of(options)
    layout = lay_out(options.data, options.out, options.target_file)
    _check(options, layout)
    journal = Journal(layout.state / "journal.jsonl", heading(spec, layout))
    run = Run(options, spec, layout, engine if engine is not None else LocalEngine(), journal)
    try:
        while True:
            try:
                _stages(run)
                break
            except SetAsideError:
                continue
    except KeyboardInterrupt:
        print("counterpoise: interrupted; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        journal.close()


def spec_of(options: WeighOptions) -> Spec:
    """Return what decides the weights.

    Parameters
    ----------
    options : WeighOptions
        From the command line.
    """
    return Spec(
        text=options.text, features=options.features, embedder=options.embedder, allow_null=options.allow_null,
        target=TargetFilter.parse(options.target) if options.target else None, group=options.group,
        method=options.method, pool=options.pool, folds=options.folds, calibrate=options.calibrate, cap=options.cap,
        fit_rows=options.fit_rows, seed=options.seed, prefix=options.prefix,
    )  # fmt: skip


def _stages(run: Run) -> None:
    spec, engine, layout = run.spec, run.engine, run.layout
    strata, basis = _scan(run)
    if spec.target is not None:
        names, place = name_sources(strata.counts, spec.target, pool=spec.pool)
        counts = [sum(n for label, n in strata.counts.items() if place[label] == i) for i in range(len(names))]
        sketches = strata.by_source(place, most=spec.fit_rows)
        places = [(place, run.left(layout.shards))]
    else:
        target = _reduced(run, run.left(layout.target))
        names, counts = ("target", "file"), [sum(target.counts.values()), sum(strata.counts.values())]
        sketches = {0: target.sketches[""], 1: strata.sketches[""]}
        place = {"": 1}
        places = [({"": 0}, run.left(layout.target)), (place, run.left(layout.shards))]
    draws = choose(sketches, most=spec.fit_rows)
    fitted = _learn(run, places, draws, counts, names, basis)
    shards = run.left(layout.shards)
    files = run.files("score", "f8", shards)
    size = run.options.batch_size
    job = ScoreJob(spec=spec, batch_size=size, files=files, place=place, sources=len(names), model=fitted.model)
    run.each("scoring", "score", job, shards, basis=basis, featurises=True)
    tally = engine.reduce(Tally.load, add, [files[shard.name].with_suffix(".npz") for shard in shards])
    if spec.method == "ulsif":
        fitted = fitted._replace(scores=Scores(tally.scores.count + fitted.scores.count))
    mean = float(tally.sums[1]) / tally.rows
    if not 0.0 < mean < float("inf"):
        raise InputError(
            f"the mean of the ratio is {mean}, so weights cannot have mean 1: the samples are too far apart"
        )
    written = WriteJob(
        spec=spec, files=files, outputs=layout.outputs, mean=mean, known=run.journal.done("write", basis)
    )  # fmt: skip
    hashes = run.each("writing", "write", written, shards, basis=basis)
    conclude(run, names, counts[0], tally, fitted, hashes)


def _scan(run: Run) -> tuple[Strata, str]:
    """Scan all shards; return the strata of the corpus, and a hash of all contents."""
    layout, contents, widths = run.layout, {}, {}
    for target, shards in ((False, layout.shards), (True, layout.target)):
        shards = tuple(run.left(shards))
        known = {name: Facts(*value) for name, value in run.journal.done("scan", str(target)).items()}
        files = run.files("scan", "npz", shards)
        job = ScanJob(spec=run.spec, batch_size=run.options.batch_size, files=files, known=known, target=target)
        facts = run.each("reading", "scan", job, shards, basis=str(target))
        if shards and not sum(Facts(*fact).rows for fact in facts.values()):
            raise InputError("there are no rows", path=run.options.target_file if target else run.options.data)
        for name, fact in sorted(facts.items()):
            contents[f"{target}/{name}"] = fact[1]
            if fact[2]:
                widths[name] = fact[2]
    if len({tuple(found.items()) for found in widths.values()}) > 1:
        first, second = _different(widths)
        raise InputError(f"shards have unlike feature columns: {first} against {second} (column: numbers in it)")
    return _reduced(run, run.left(layout.shards)), basis_of(contents)


def _reduced(run: Run, shards: Sequence[Shard]) -> Strata:
    target = run.spec.target.values if run.spec.target else ()
    merge = partial(Strata.merged, target=target, most=run.spec.fit_rows)  # of a module that workers have loaded
    whole: Strata = run.engine.reduce(Strata.load, merge, list(run.files("scan", "npz", shards).values()))
    return whole


def _learn(
    run: Run,
    places: Sequence[tuple[dict[str, int], list[Shard]]],
    draws: dict[int, Draw],
    counts: Sequence[int],
    names: Sequence[str],
    basis: str,
) -> Fitted:
    """Draw the rows to learn from and fit the models."""
    spec, paths = run.spec, []
    for place, shards in places:
        files = run.files("draw", "npz", shards)
        job = DrawJob(spec=spec, batch_size=run.options.batch_size, files=files, place=place, draws=draws)
        run.each("drawing", "draw", job, shards, basis=basis, featurises=True)
        paths += list(files.values())
    fit = FitJob(spec, draws, tuple(counts))
    try:
        if spec.method == "ulsif":
            return _learn_from_sums(run, fit, places, paths, basis)
        with console.status("fitting the classifiers, fold by fold"):
            return run.engine.fit(fit, paths)
    except ValueError as error:
        raise InputError(
            f"{said(error, names)} (cv is --folds here; --pool joins the sources)", path=run.options.data
        ) from error


def _learn_from_sums(
    run: Run, fit: FitJob, places: Sequence[tuple[dict[str, int], list[Shard]]], drawn: Sequence[Path], basis: str
) -> Fitted:
    """Place bumps by the rows drawn, sum them over every row, and solve."""
    from .sums import SumJob, add_statistics, bumps_of, load_sums, solve

    spec, size, paths = run.spec, run.options.batch_size, list[Path]()
    bumps = run.engine.once(bumps_of, fit, drawn)
    for place, shards in places:
        files = run.files("sum", "npz", shards)
        job = SumJob(spec=spec, batch_size=size, files=files, place=place, bumps=bumps)
        run.each("summing", "sum", job, shards, basis=basis, featurises=True)
        paths += list(files.values())
    sums = run.engine.reduce(load_sums, add_statistics, paths)
    model = solve(fit, bumps, sums)
    if spec.target is not None:
        return Fitted(model, sum(fit.counts), no_rows(spec, 1).scores)
    # Samples that are not rows of the corpus are scored for the report alone.
    _, shards = places[0]
    files = run.files("score", "f8", shards)
    scoring = ScoreJob(spec=spec, batch_size=size, files=files, place={"": 1}, sources=2, model=model)
    run.each("scoring", "score", scoring, shards, basis=basis, featurises=True)
    tally = run.engine.reduce(Tally.load, add, [file.with_suffix(".npz") for file in files.values()])
    return Fitted(model, sum(fit.counts), Scores(tally.scores.count[::-1]))


def _check(options: WeighOptions, layout: Layout) -> None:
    """Refuse destinations that must not be written, and those of a finished run unless it is to be replaced."""
    if options.answers is not None:
        raise InputError("--answers works on one file, by --engine local")
    check_apart(layout, options.data, options.out)
    inputs = [shard.path for shard in (*layout.shards, *layout.target)]
    going_on = (layout.state / "journal.jsonl").exists() and not options.force
    if is_corpus(options.data):
        if options.out.exists() and not going_on and not options.force and any(options.out.iterdir()):
            raise InputError("exists already; name another output, or replace it with --force", path=options.out)
        if not options.out.parent.is_dir():
            raise InputError(f"the folder {options.out.parent} does not exist", path=options.out)
    else:
        if file_format(options.data) != file_format(options.out):
            raise InputError(f"the output has the input's format, {file_format(options.data)}", path=options.out)
        check_destination(options.out, inputs=inputs, force=options.force or going_on)
    check_destination(options.report, inputs=inputs, force=options.force or going_on)
    if options.force:
        shutil.rmtree(layout.state, ignore_errors=True)


def _different(widths: Mapping[str, Mapping[str, int]]) -> tuple[str, str]:
    """Describe the first two shards whose feature columns differ."""
    (first, found), *rest = sorted(widths.items())
    other = next(name for name, columns in rest if list(columns.items()) != list(found.items()))
    return f"{first} {dict(found)}", f"{other} {dict(widths[other])}"
