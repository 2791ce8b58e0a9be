"""The fit: one model per fold and source, learnt from the rows drawn; each fold can be fitted on another machine."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from .model import CorpusModel, Lesson, load_drawn, merge_drawn, prepare
from .sample import Draw
from .spec import Spec
from .tally import Scores

__all__ = ["Begun", "FitJob", "Fitted", "begin", "finish", "fit_fold", "warm"]


class FitJob(NamedTuple):
    """How the models are learnt from files of rows drawn.

    Parameters
    ----------
    spec : Spec
        Of the run.
    draws : dict of int to Draw
        Of each source.
    counts : tuple of int
        Rows of each source in the whole corpus, the target's first.
    """

    spec: Spec
    draws: dict[int, Draw]
    counts: tuple[int, ...]


class Begun(NamedTuple):
    """A fit whose rows were dealt to folds.

    Parameters
    ----------
    model : ClassifierRatio or LinearRatio
        Unfitted.
    lesson : Lesson
        Rows to learn from.
    folds : int
        How many there are.
    """

    model: Any
    lesson: Lesson
    folds: int


class Fitted(NamedTuple):
    """What came of a fit.

    Parameters
    ----------
    model : CorpusModel, or what an engine keeps for one
        To weigh by.
    rows : int
        Learnt from.
    scores : Scores
        Of these rows, out of fold.
    """

    model: Any
    rows: int
    scores: Scores


def begin(job: FitJob, parts: Iterable[Path | BinaryIO]) -> Begun:
    """Read the rows drawn and deal them to folds.

    Parameters
    ----------
    job : FitJob
        Says how.
    parts : iterable of Path or binary file
        What `DrawJob` wrote. Classes that cannot fill the folds raise ValueError.
    """
    spec = job.spec
    shares = [count / sum(job.counts) for count in job.counts] if spec.target is not None else None
    model = spec.featuriser().model(folds=spec.folds, calibrate=spec.calibrate, seed=spec.seed, shares=shares)
    lesson = prepare(merge_drawn([load_drawn(part) for part in parts]), job.draws)
    return Begun(model, lesson, len(model.assign(lesson.matrix, lesson.source, lesson.key)))


def fit_fold(begun: Begun, number: int) -> Any:
    """Fit the models that do not see a fold.

    Parameters
    ----------
    begun : Begun
        From `begin`.
    number : int
        Of the fold.
    """
    return begun.model.fit_fold(begun.lesson.matrix, begun.lesson.source, number, begun.lesson.key)


def finish(job: FitJob, begun: Begun, *folds: Any) -> tuple[CorpusModel, tuple[int, Scores]]:
    """Put the folds together; return the model, and of `Fitted` what is small.

    Parameters
    ----------
    job, begun
        As in `begin` and `fit_fold`.
    *folds
        What `fit_fold` returned, in order.
    """
    model, lesson = begun.model.collect(folds), begun.lesson
    sizes = np.bincount(lesson.source)
    shift = 0.0
    if job.spec.target is None:
        # The model knows the numbers of rows drawn; the log-odds in the files are those of all rows.
        shift = float(np.log(job.counts[0] / job.counts[1]) - np.log(sizes[0] / sizes[1]))
    order = np.argsort(lesson.key, kind="stable")
    fitted = CorpusModel(model, lesson.key[order], model.fold_[order], shift)
    return fitted, (len(order), Scores.of(model.log_odds_ + shift, lesson.source == 0))


def warm(method: str, hashes: bool) -> None:
    """Load what the stages need, which takes seconds, while another process does the same.

    Parameters
    ----------
    method : str
        Of `Spec`.
    hashes : bool
        Whether features are words hashed, for which scikit-learn is loaded.
    """
    if method == "ulsif":
        needed = [f"{__package__}.sums", "array_api_compat.numpy"]  # which is loaded by the first call otherwise
    else:
        needed = [f"{__package__}.jobs", f"counterpoise_adapters.{'sklearn' if hashes else '_linear_ratio'}"]
    for name in needed:
        import_module(name)
