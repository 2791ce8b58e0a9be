"""The end of a run: the report, the manifest, and nothing left of what the run kept for itself."""

import json
import shutil
from collections.abc import Mapping

from counterpoise_adapters.cli.advice import advise
from counterpoise_adapters.cli.report import print_summary, render
from counterpoise_adapters.cli.staging import Staging, writing

from .findings import charts_of, shown, summary_of
from .fit import Fitted
from .jobs import Facts
from .shards import is_corpus
from .state import Run, heading
from .tally import Tally

__all__ = ["conclude"]


def conclude(
    run: Run, names: tuple[str, ...], n_target: int, tally: Tally, fitted: Fitted, hashes: Mapping[str, str]
) -> None:
    """Write the report and the manifest, remove what the run kept for itself, and print the summary.

    Parameters
    ----------
    run : Run
        All of whose stages are done.
    names : tuple of str
        Of the sources, the target's first.
    n_target : int
        Number of target samples.
    tally : Tally
        Of all rows.
    fitted : Fitted
        What they were weighed by.
    hashes : mapping of str to str
        Of what was written for each shard.
    """
    options, inside = run.options, run.spec.target is not None
    # Target samples that are not in the corpus were not weighed: the rows learnt from tell how separable they are.
    scores = tally.scores if inside else fitted.scores
    summary = summary_of(tally, scores, names, n_target=n_target, target_inside=inside, cap=options.cap)
    advice = advise(summary, cap=options.cap)
    ends = [
        shown(rows, tally, names, target_inside=inside, cap=options.cap) for rows in (tally.heaviest, tally.lightest)
    ]
    page = render(
        summary, advice, options, features=run.spec.featuriser().describe(), learnt=fitted.rows,
        charts=charts_of(tally, scores, summary, cap=options.cap), heaviest=ends[0], lightest=ends[1],
        set_aside=sorted(run.set_aside.items()),
    )  # fmt: skip
    with Staging() as staging, writing(options.report):
        staging.open(options.report).write(page.encode("utf-8"))
    _clear(run, tally, hashes)
    print_summary(summary, advice, options)
    for message in run.set_aside.values():
        print(f"set aside: {message}")


def _clear(run: Run, tally: Tally, hashes: Mapping[str, str]) -> None:
    """Leave the manifest of a corpus, and nothing else."""
    layout = run.layout
    run.journal.close()
    if is_corpus(run.options.data):
        scanned = {name: Facts(*value) for name, value in run.journal.done("scan", "False").items()}
        shards = {
            name: {"rows": scanned[name].rows, "read": scanned[name].content, "written": hashes[name]}
            for name in sorted(hashes)
        }
        manifest = {
            **heading(run.spec, layout), "mean_ratio": tally.sums[1] / tally.rows, "rows": tally.rows,
            "shards": shards, "set_aside": dict(sorted(run.set_aside.items())),
        }  # fmt: skip
        with Staging() as staging, writing(layout.manifest):
            staging.open(layout.manifest).write(json.dumps(manifest, indent=1).encode())
        for name in ("scan", "draw", "sum", "score"):
            shutil.rmtree(layout.state / name, ignore_errors=True)
        (layout.state / "journal.jsonl").unlink()
    else:
        shutil.rmtree(layout.state)
