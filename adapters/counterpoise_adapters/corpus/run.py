"""The work behind ``counterpoise weigh`` on a corpus of several files: five stages over the shards.

1. Scan: read and check every row, count the sources, sketch what is to be drawn.  2. Draw: the features of the rows to
learn from.  3. Fit.  4. Score every row.  5. Write every shard.  Each stage is done shard by shard by an `Engine` and
noted in a `Journal`.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import counterpoise
from counterpoise_adapters.cli.advice import advise
from counterpoise_adapters.cli.errors import InputError, OutputError
from counterpoise_adapters.cli.files import check_destination, file_format
from counterpoise_adapters.cli.options import WeighOptions
from counterpoise_adapters.cli.progress import console, steps
from counterpoise_adapters.cli.report import print_summary, render
from counterpoise_adapters.cli.rows import TargetFilter
from counterpoise_adapters.cli.staging import Staging, writing

from .engine import Engine, FitJob, LocalEngine
from .findings import charts_of, shown, summary_of
from .jobs import DrawJob, Facts, ScanJob, ScoreJob, Spec, WriteJob
from .journal import Journal, basis_of
from .model import CorpusModel
from .sample import Draw, choose
from .shards import Layout, Shard, check_apart, is_corpus, lay_out
from .strata import MOST_SOURCES, Strata
from .tally import Scores, Tally, add

__all__ = ["fit_job", "name_sources", "run_corpus", "spec_of"]


class _SetAside(Exception):
    """A shard was set aside after rows of it were counted: the stages begin again without it."""


@dataclass
class _Run:
    """A run: where its files are, and what is known so far."""

    options: WeighOptions
    spec: Spec
    layout: Layout
    engine: Engine
    journal: Journal
    set_aside: dict[str, str] = field(default_factory=dict)

    def files(self, stage: str, ending: str, shards: Sequence[Shard]) -> dict[str, Path]:
        """Return where a stage keeps what it knows of each shard; by number, so that no name is too long."""
        rank = {shard.name: number for number, shard in enumerate((*self.layout.shards, *self.layout.target))}
        return {shard.name: self.layout.state / stage / f"{rank[shard.name]:06d}.{ending}" for shard in shards}

    def each(
        self, what: str, stage: str, job: Callable[[Shard], Any], shards: Sequence[Shard], *, basis: str,
        featurises: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Do a job on every shard that the journal does not know to be done; return the values of all."""
        done = {} if stage in ("scan", "write") else self.journal.done(stage, basis)
        values = {shard.name: done[shard.name] for shard in shards if shard.name in done}
        left = [shard for shard in shards if shard.name not in values]
        lost = False
        with steps(what, len(shards)) as advance:
            for _ in values:
                advance()
            for outcome in self.engine.run(job, left, featurises=featurises):
                advance()
                if outcome.fatal:
                    raise OutputError(outcome.error)
                if outcome.error:
                    self._set_aside(outcome.name, outcome.error, shards)
                    lost = True
                    continue
                values[outcome.name] = outcome.value
                self.journal.note(stage, basis, outcome.name, outcome.value)
        if lost and stage != "scan":
            raise _SetAside
        return values

    def left(self, shards: Sequence[Shard]) -> list[Shard]:
        """Return the shards that were not set aside."""
        return [shard for shard in shards if shard.name not in self.set_aside]

    def _set_aside(self, name: str, error: str, shards: Sequence[Shard]) -> None:
        path = next(shard.path for shard in shards if shard.name == name)
        message = error if str(path) in error else f"{path}: {error}"
        if self.options.on_error == "stop":
            raise InputError(f"{message} (shards done so far are kept; --on-error skip sets such a shard aside)")
        self.set_aside[name] = message
        console.print(f"set aside: {message}", markup=False, highlight=False)


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
    journal = Journal(layout.state / "journal.jsonl", _heading(spec, layout))
    run = _Run(options, spec, layout, engine if engine is not None else LocalEngine(), journal)
    try:
        while True:
            try:
                _stages(run)
                break
            except _SetAside:
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
        pool=options.pool, folds=options.folds, calibrate=options.calibrate, cap=options.cap,
        fit_rows=options.fit_rows, seed=options.seed, prefix=options.prefix,
    )  # fmt: skip


def name_sources(counts: Mapping[str, int], spec: Spec) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the names of the sources, the target's first, and the source of each label.

    Parameters
    ----------
    counts : mapping of str to int
        Rows with each label; none or all of them target rows raises `InputError`.
    spec : Spec
        With a target filter.
    """
    assert spec.target is not None
    wanted = spec.target.values
    chosen = " or ".join(f"{spec.target.column}={value}" for value in wanted)
    seen = ", ".join(sorted(counts)[:8]) + (", ..." if len(counts) > 8 else "")
    total, others = sum(counts.values()), sorted(set(counts) - set(wanted))
    if not any(value in counts for value in wanted):
        raise InputError(f"--target {chosen} matches none of the {total:,} rows (values: {seen})")
    if not others:
        raise InputError(f"--target {chosen} matches all {total:,} rows: nothing is left to weigh them against")
    pooled = spec.pool or len(others) > MOST_SOURCES
    names = (chosen, *(["all others"] if pooled else others))
    place = {label: 1 if pooled else 1 + rank for rank, label in enumerate(others)}
    return names, place | dict.fromkeys(wanted, 0)


def _stages(run: _Run) -> None:
    spec, engine, layout = run.spec, run.engine, run.layout
    strata, basis = _scan(run)
    if spec.target is not None:
        names, place = name_sources(strata.counts, spec)
        counts = [sum(n for label, n in strata.counts.items() if place[label] == i) for i in range(len(names))]
        sketches = strata.by_source(place, most=spec.fit_rows)
        places = [(place, run.left(layout.shards))]
    else:
        target = _reduced(run, "scan", run.left(layout.target))
        names, counts = ("target", "file"), [sum(target.counts.values()), sum(strata.counts.values())]
        sketches = {0: target.sketches[""], 1: strata.sketches[""]}
        place = {"": 1}
        places = [({"": 0}, run.left(layout.target)), (place, run.left(layout.shards))]
    draws = choose(sketches, most=spec.fit_rows)
    model, learnt = _learn(run, places, draws, counts, basis)
    shards = run.left(layout.shards)
    files = run.files("score", "f8", shards)
    size = run.options.batch_size
    job = ScoreJob(
        spec=spec, batch_size=size, files=files, place=place, sources=len(names), model=engine.hold(model)
    )  # fmt: skip
    run.each("scoring", "score", job, shards, basis=basis, featurises=True)
    tally = engine.reduce(Tally.load, add, [files[shard.name].with_suffix(".npz") for shard in shards])
    mean = float(tally.sums[1]) / tally.rows
    if not 0.0 < mean < float("inf"):
        raise InputError(
            f"the mean of the ratio is {mean}, so weights cannot have mean 1: the samples are too far apart"
        )
    written = WriteJob(
        spec=spec, files=files, outputs=layout.outputs, mean=mean, known=run.journal.done("write", basis)
    )  # fmt: skip
    hashes = run.each("writing", "write", written, shards, basis=basis)
    _finish(run, names, counts, tally, model, learnt, hashes)


def _scan(run: _Run) -> tuple[Strata, str]:
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
    return _reduced(run, "scan", run.left(layout.shards)), basis_of(contents)


def _reduced(run: _Run, stage: str, shards: Sequence[Shard]) -> Strata:
    merge = partial(_merge, target=run.spec.target.values if run.spec.target else (), most=run.spec.fit_rows)
    whole: Strata = run.engine.reduce(Strata.load, merge, list(run.files(stage, "npz", shards).values()))
    return whole


def _merge(first: Strata, second: Strata, *, target: tuple[str, ...], most: int) -> Strata:
    return first.merged(second, target=target, most=most)


def _learn(
    run: _Run,
    places: Sequence[tuple[dict[str, int], list[Shard]]],
    draws: dict[int, Draw],
    counts: Sequence[int],
    basis: str,
) -> tuple[CorpusModel, int]:
    """Draw the rows to learn from and fit the models; return them, and the number of rows."""
    spec, paths = run.spec, []
    for place, shards in places:
        files = run.files("draw", "npz", shards)
        job = DrawJob(spec=spec, batch_size=run.options.batch_size, files=files, place=place, draws=draws)
        run.each("drawing", "draw", job, shards, basis=basis, featurises=True)
        paths += list(files.values())
    fit = fit_job(spec, draws, counts)
    try:
        with console.status("fitting the classifiers, fold by fold"):
            model = run.engine.fit(fit, paths)
    except ValueError as error:
        raise InputError(f"{error} (cv is --folds here; --pool joins the sources)", path=run.options.data) from error
    return model, len(model.fold)


def fit_job(spec: Spec, draws: dict[int, Draw], counts: Sequence[int]) -> FitJob:
    """Return how the models are learnt.

    Parameters
    ----------
    spec : Spec
        Of the run.
    draws : dict of int to Draw
        Of each source.
    counts : sequence of int
        Rows of each source.
    """
    classifier = spec.featuriser().classifier(seed=spec.seed)
    return FitJob(
        draws, classifier, tuple(counts), spec.target is not None, spec.folds, spec.calibrate, spec.seed
    )  # fmt: skip


def _finish(
    run: _Run,
    names: tuple[str, ...],
    counts: Sequence[int],
    tally: Tally,
    model: CorpusModel,
    learnt: int,
    hashes: Mapping[str, str],
) -> None:
    """Write the report and the manifest, remove what the run kept for itself, and print the summary."""
    options, layout, inside = run.options, run.layout, run.spec.target is not None
    scores = tally.scores
    if not inside:
        # The target's samples are not in the corpus: the rows drawn tell how separable they are, out of fold.
        log_odds = model.ratio_model.log_odds_ + model.shift
        scores = Scores.of(log_odds, model.source == 0)
    summary = summary_of(tally, scores, names, n_target=counts[0], target_inside=inside, cap=options.cap)
    advice = advise(summary, cap=options.cap)
    ends = [
        shown(rows, tally, names, target_inside=inside, cap=options.cap) for rows in (tally.heaviest, tally.lightest)
    ]
    page = render(
        summary, advice, options, features=run.spec.featuriser().describe(), learnt=learnt,
        charts=charts_of(tally, scores, summary, cap=options.cap), heaviest=ends[0], lightest=ends[1],
        set_aside=sorted(run.set_aside.items()),
    )  # fmt: skip
    with Staging() as staging, writing(options.report):
        staging.open(options.report).write(page.encode("utf-8"))
    run.journal.close()
    if is_corpus(options.data):
        scanned = {name: Facts(*value) for name, value in run.journal.done("scan", "False").items()}
        shards = {
            name: {"rows": scanned[name].rows, "read": scanned[name].content, "written": hashes[name]}
            for name in sorted(hashes)
        }
        manifest = {
            **_heading(run.spec, layout), "mean_ratio": tally.sums[1] / tally.rows, "rows": tally.rows,
            "shards": shards, "set_aside": dict(sorted(run.set_aside.items())),
        }  # fmt: skip
        with Staging() as staging, writing(layout.manifest):
            staging.open(layout.manifest).write(json.dumps(manifest, indent=1).encode())
        for name in ("scan", "draw", "score"):
            shutil.rmtree(layout.state / name, ignore_errors=True)
        (layout.state / "journal.jsonl").unlink()
    else:
        shutil.rmtree(layout.state)
    print_summary(summary, advice, options)
    for message in run.set_aside.values():
        print(f"set aside: {message}")


def _heading(spec: Spec, layout: Layout) -> dict[str, Any]:
    return {
        "counterpoise": counterpoise.__version__, **asdict(spec), "shards": [shard.name for shard in layout.shards],
        "target_shards": [shard.name for shard in layout.target],
    }  # fmt: skip


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
