"""Files of real labels, found by COUNTERPOISE_DATA, as problems with random numbers of training rows."""

import gzip
import json
import os
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from counterpoise_adapters.cli.comparing import reduce_sides
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import StandardScaler

from .worlds import Floats, Problem

TUNING = (
    "evouna1000:newbing", "evouna1000:gpt4", "evouna1000:fid",
    "adult:sex=Female", "adult:age=55", "adult:race=Black", "adult:workclass=Self-emp-not-inc",
)  # fmt: skip
HELD_OUT = (
    "hh:helpful", "hh:harmless", "summeval:extractive", "summeval:abstractive",
    "summeval:coherence:consistency", "summeval:relevance:fluency", "evouna:tq", "adult:relationship=Own-child",
)  # fmt: skip
EXTRACTIVE = {"M0", "M1", "M2", "M5"}  # SummEval's systems that copy sentences
MOST = 3000  # test rows
Row = tuple[str, str, int, str]  # preferred, other, 0 for a target row, prompt


def read_problem(name: str, seed: int) -> Problem:
    """Draw 40 to 300 target rows and 300 to 2,000 others to train on; the target's other prompts are the test.

    Parameters
    ----------
    name : str
        One of `TUNING` or `HELD_OUT`.
    seed : int
        Of the draw.
    """
    generator = np.random.default_rng(seed)
    counts = [int(np.exp(generator.uniform(*np.log(ends)))) for ends in ((40, 300), (300, 2000))]
    kind, _, what = name.partition(":")
    if kind == "adult":
        return _adult(name, what, counts, generator)
    rows = _pairs(kind, what)
    source = np.array([row[2] for row in rows])
    key = np.unique([row[3] for row in rows], return_inverse=True)[1]
    keys = generator.permutation(np.unique(key[source == 0]))
    out = np.isin(key, keys[: len(keys) // 2])
    test = generator.permutation(np.flatnonzero(out & (source == 0)))[:MOST]
    train = np.concatenate(
        [generator.permutation(np.flatnonzero((source == s) & ~out))[:most] for s, most in enumerate(counts)]
    )
    both, n = np.concatenate([train, test]), len(train)
    hasher = HashingVectorizer(
        n_features=2**18, ngram_range=(1, 2), norm=None, alternate_sign=False, token_pattern=r"(?u)\b\w+\b|[^\w\s]"
    )
    first, second = reduce_sides([hasher.transform([rows[i][side] for i in both]) for side in (0, 1)], n, seed)
    x = first - second
    return Problem(name, x[:n], np.hstack([first, second])[:n], source[train], key[train], x[n:])


def _load(name: str) -> list[dict[str, Any]]:
    path = Path(os.environ["COUNTERPOISE_DATA"]) / f"{name}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@cache
def _pairs(kind: str, what: str) -> list[Row]:
    if kind == "hh":
        return [(r["chosen"], r["rejected"], int(r["source"] != what), r["prompt"]) for r in _load("hh_pairs")]
    if kind == "evouna1000":  # the target: pairs with an answer of one source
        rows = _load("evouna_1000q")
        return [(a, b, int(what not in names), r["question"]) for r in rows for a, b, names in _judged(r)]
    if kind == "evouna":  # the target: one of the two sets of questions
        questions: dict[tuple[str, str], dict[str, Any]] = {}
        for r in _load("evouna_qa_human_judged"):
            row = questions.setdefault((r["dataset"], r["question"]), {"answers": {}, "correct": {}})
            row["answers"][r["model"]], row["correct"][r["model"]] = r["answer"], r["correct"]
        return [(a, b, int(d != what), q) for (d, q), row in questions.items() for a, b, _ in _judged(row)]
    return list(_summaries(what))


def _judged(row: dict[str, Any]) -> Iterator[tuple[str, str, tuple[str, str]]]:
    for names in combinations(row["answers"], 2):
        good, bad = sorted(names, key=lambda name: not row["correct"][name])
        if row["correct"][good] != row["correct"][bad]:
            yield row["answers"][good] or "", row["answers"][bad] or "", names  # a few answers are null


def _summaries(what: str) -> Iterator[Row]:
    """Pairs of one document's summaries: the target one kind of system, or one aspect of the judgement."""
    generator = np.random.default_rng(0)
    documents: dict[str, list[dict[str, Any]]] = {}
    for r in _load("summeval_100docs_16systems"):
        if r["scores"]:
            documents.setdefault(r["doc_id"], []).append(r)
    mine, _, others = what.partition(":")
    for document, rows in documents.items():
        for pair in combinations(rows, 2):
            if others:
                source = int(generator.random() >= 0.2)
                scores = [r["scores"][others if source else mine] for r in pair]
            else:
                source = int(any((r["system"] in EXTRACTIVE) != (mine == "extractive") for r in pair))
                scores = [float(np.mean(list(r["scores"].values()))) for r in pair]
            if abs(scores[0] - scores[1]) >= 0.5:
                good = int(scores[1] > scores[0])
                yield pair[good]["summary"], pair[1 - good]["summary"], source, document


def _adult(name: str, what: str, counts: list[int], generator: np.random.Generator) -> Problem:
    import pandas as pd

    column, value = what.split("=")
    path = Path(os.environ["COUNTERPOISE_DATA"]) / "classical" / "adult.csv.gz"
    rows = pd.read_csv(path, skipinitialspace=True)
    sign = np.where(rows["income-per-year"].str.startswith(">"), 1.0, -1.0)[:, None]
    mine = (rows[column] > float(value) if column == "age" else rows[column] == value).to_numpy()
    dropped = ["income-per-year", "fnlwgt", "native-country", "education"]
    features = pd.get_dummies(rows.drop(columns=dropped)).to_numpy(float)
    order = generator.permutation(np.flatnonzero(mine))
    train = np.concatenate([order[: counts[0]], generator.permutation(np.flatnonzero(~mine))[: counts[1]]])
    test = order[counts[0] : counts[0] + MOST]
    scale = StandardScaler().fit(features[train])

    def laid_out(chosen: Any) -> tuple[Floats, Floats]:
        z, y = scale.transform(features[chosen]), sign[chosen]
        return np.hstack([z, np.ones((len(z), 1))]) * y, np.hstack([z, z * y, y])

    (x, z), (fresh, _) = laid_out(train), laid_out(test)
    return Problem(name, x, z, (~mine[train]).astype(np.int64), np.arange(len(train)), fresh, True)
