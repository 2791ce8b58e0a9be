"""All arms on real preferences, linear policies: splits of files of text, judged on target pairs nobody has seen.

Each file gives pairs from a few target examples and many others; what sets them apart is natural, not planted.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from counterpoise_adapters.cli.experiment import choose_split
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.preprocessing import StandardScaler

import counterpoise as cp

from .arms import ARMS, Columns
from .training import Problem, columns_of, evaluate, stacked, train_arm

__all__ = ["DATASETS", "TEST_SHARE", "Pair", "data_folder", "read_pairs", "run_dataset", "splits"]

Floats = NDArray[np.float64]
DIMENSIONS, TEST_SHARE, FOLDS = 32, 0.3, 3
MOST_PAIRS = 6  # of one prompt and source


@dataclass(frozen=True)
class Pair:
    """A preference between two texts.

    Parameters
    ----------
    key : str
        The prompt's.
    source : int
        0 is the target.
    chosen, rejected : str
        The responses.
    """

    key: str
    source: int
    chosen: str
    rejected: str


def data_folder() -> Path:
    """Return the folder with the files, or say where it is looked for."""
    given = os.environ.get("COUNTERPOISE_DATA")
    folder = Path(given) if given else Path(__file__).parents[2].parent / "shared" / "data"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist: set COUNTERPOISE_DATA to the folder of the real data")
    return folder


def _rows(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(data_folder() / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _overlap(text: str, reference: str) -> float:
    """Token F1, the judge that question answering used before people and models judged."""
    a, b = Counter(_words(text)), Counter(_words(reference))
    common = sum((a & b).values())
    return 2.0 * common / max(1, sum(a.values()) + sum(b.values()))


def _answers() -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in _rows("evouna_qa_human_judged"):
        if row["answer"]:
            found[row["id"]][row["model"]] = row
    return found


def _correct(row: dict[str, Any]) -> bool:
    return str(row["correct"]) == "True"


def _evouna_systems() -> Iterator[Pair]:
    """Right against wrong answers, all judged by people; the target is pairs with the newest, longest-winded system."""
    for key, answers in _answers().items():
        for one, two in combinations(sorted(answers), 2):
            if _correct(answers[one]) == _correct(answers[two]):
                continue
            best, worst = (one, two) if _correct(answers[one]) else (two, one)
            source = 0 if "newbing" in (one, two) else 1 if "fid" in (one, two) else 2
            yield Pair(key, source, answers[best]["answer"], answers[worst]["answer"])


def _evouna_judge() -> Iterator[Pair]:
    """Answers judged by people (target, half of the questions) and by overlap with the golden answer (the others)."""
    for place, (key, answers) in enumerate(_answers().items()):
        for one, two in combinations(sorted(answers), 2):
            if place % 2 == 0:
                score = [float(_correct(answers[m])) for m in (one, two)]
            else:
                score = [_overlap(answers[m]["answer"], answers[m]["golden_answer"]) for m in (one, two)]
            if score[0] != score[1]:
                best, worst = (one, two) if score[0] > score[1] else (two, one)
                yield Pair(key, place % 2, answers[best]["answer"], answers[worst]["answer"])


def _hh() -> Iterator[Pair]:
    """Preferences of helpful dialogue (target) and of harmless dialogue."""
    for row in _rows("hh_pairs"):
        yield Pair(row["prompt"], int(row["source"] != "helpful"), row["chosen"], row["rejected"])


def _self_instruct() -> Iterator[Pair]:
    """Prefer a person's text to a model's; the target is pairs with the strongest model."""
    tasks: dict[str, dict[str, str]] = defaultdict(dict)
    for row in _rows("selfinstruct252_human_vs_8lm"):
        tasks[row["id"]][row["source"]] = row["text"]
    for key, texts in tasks.items():
        for model, text in sorted(texts.items()):
            if model != "human" and text.strip() and texts["human"].strip():
                source = 0 if model == "text-davinci-003" else 1 if model.startswith("text-") else 2
                yield Pair(key, source, texts["human"], text)


def _summeval() -> Iterator[Pair]:
    """Summaries judged by experts (target, a third of the documents) and by overlap with a reference (the others)."""
    documents: dict[str, list[dict[str, Any]]] = defaultdict(list)
    reference: dict[str, str] = {}
    for row in _rows("summeval_100docs_16systems"):
        if row["system"] == "human_ref":
            reference[row["doc_id"]] = row["summary"]
        else:
            documents[row["doc_id"]].append(row)
    for place, (key, rows) in enumerate(documents.items()):
        for one, two in combinations(rows, 2):
            if place % 3 == 0:
                score = [_expert(row["scores"]) for row in (one, two)]
            else:
                score = [_overlap(row["summary"], reference[key]) for row in (one, two)]
            if abs(score[0] - score[1]) > (0.5 if place % 3 == 0 else 0.02):
                best, worst = (one, two) if score[0] > score[1] else (two, one)
                yield Pair(key, int(place % 3 != 0), best["summary"], worst["summary"])


def _expert(scores: Any) -> float:
    """Return the mean over the experts and what they rated."""
    numbers: list[float] = []
    stack = [scores]
    while stack:
        entry = stack.pop()
        if isinstance(entry, dict):
            stack += list(entry.values())
        elif isinstance(entry, list):
            stack += entry
        else:
            numbers.append(float(entry))
    return float(np.mean(numbers))


@dataclass(frozen=True)
class Dataset:
    """A file and how much of it trains.

    Parameters
    ----------
    title : str
        For the table: others → target.
    pairs : callable
        Yields its pairs.
    target_rows, other_rows : int
        To train on, of each split.
    """

    title: str
    pairs: Callable[[], Iterator[Pair]]
    target_rows: int
    other_rows: int


DATASETS = {
    "evouna systems": Dataset("EVOUNA: pairs of other systems → of the newest", _evouna_systems, 150, 800),
    "evouna judge": Dataset("EVOUNA: judged by token overlap → by people", _evouna_judge, 150, 800),
    "hh": Dataset("HH: harmless → helpful", _hh, 100, 1200),
    "self-instruct": Dataset("self-instruct: against weak models → the strongest", _self_instruct, 100, 800),
    "summeval": Dataset("SummEval: judged by token overlap → by experts", _summeval, 120, 800),
}


def read_pairs(name: str) -> list[Pair]:
    """Return the pairs of a data set, few of each prompt and source.

    Parameters
    ----------
    name : str
        Of `DATASETS`.
    """
    generator = np.random.default_rng(0)
    groups: dict[tuple[str, int], list[Pair]] = defaultdict(list)
    for pair in DATASETS[name].pairs():
        groups[pair.key, pair.source].append(pair)
    kept = []
    for group in groups.values():
        chosen = generator.permutation(len(group))[:MOST_PAIRS]
        kept += [group[i] for i in sorted(chosen)]
    return kept


def splits(name: str, count: int) -> Iterator[tuple[list[Pair], list[Pair], int]]:
    """Yield training and test pairs of each split; no prompt is on both sides.

    Parameters
    ----------
    name : str
        Of `DATASETS`.
    count : int
        How many.
    """
    pairs, data = read_pairs(name), DATASETS[name]
    source = np.array([pair.source for pair in pairs])
    key = np.array([pair.key for pair in pairs])
    for seed in range(count):
        train, test = choose_split(
            source, key, target_rows=data.target_rows, other_rows=data.other_rows, test_share=TEST_SHARE, seed=seed
        )
        yield [pairs[i] for i in train], [pairs[i] for i in test], seed


def features(train: list[Pair], test: list[Pair], seed: int) -> tuple[Floats, Floats]:
    """Return standardised features of responses, (n, 2, d): topics of words learnt on training pairs, and length."""
    texts = [t for pairs in (train, test) for side in ("chosen", "rejected") for t in (getattr(p, side) for p in pairs)]
    counts = CountVectorizer(max_features=4000, token_pattern=r"[A-Za-z0-9']+|[^\sA-Za-z0-9]").fit_transform(texts)
    n, m = len(train), len(test)
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts[: 2 * n])
    topics = TruncatedSVD(DIMENSIONS, random_state=seed).fit(weigh.transform(counts[: 2 * n]))
    length = np.log1p(np.asarray(sparse.csr_matrix(counts).sum(axis=1)))
    dense = np.hstack([topics.transform(weigh.transform(counts)), length])
    dense = StandardScaler().fit(dense[: 2 * n]).transform(dense)
    first = np.stack([dense[:n], dense[n : 2 * n]], axis=1)
    return first, np.stack([dense[2 * n : 2 * n + m], dense[2 * n + m :]], axis=1)


def prepared(name: str, count: int) -> tuple[Problem, Floats, list[Floats], list[Floats]]:
    """Return the training problem of all splits, its responses, and the test pairs of each split."""
    items, tests, columns, folds = [], [], [], []
    for train, test, seed in splits(name, count):
        mine, theirs = features(train, test, seed)
        source = np.array([pair.source for pair in train])
        groups = np.unique([pair.key for pair in train], return_inverse=True)[1]
        aware, blind = (cp.pair_features(mine[:, 0], mine[:, 1], label_aware=a) for a in (True, False))
        columns.append(columns_of(aware, blind, mine, source, seed=seed, groups=groups))
        items.append(mine)
        tests.append(theirs)
        folds.append(_folds(source, groups, seed))
    kept = min(len(one) for one in items)
    if any(len(one) != kept for one in items):
        raise ValueError(f"{name}: the splits differ in size; lower target_rows or other_rows")
    stack = np.stack(items)
    problem = Problem(stack[:, :, 0] - stack[:, :, 1], stacked(columns), np.stack(folds))
    return problem, stack, tests, tests


def _folds(source: NDArray[np.int64], groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Deal the target's prompts to the folds in turn, then all others."""
    order = np.random.default_rng(seed).permutation(int(groups.max()) + 1)
    mine = np.isin(order, groups[source == 0])
    place = np.empty(len(order), dtype=np.int64)
    place[order[np.argsort(~mine, kind="stable")]] = np.arange(len(order)) % FOLDS
    return place[groups]


def run_dataset(name: str, count: int) -> dict[str, Any]:
    """Train every arm on every split.

    Parameters
    ----------
    name : str
        Of `DATASETS`.
    count : int
        Splits.
    """
    problem, _, tests, _ = prepared(name, count)
    thetas = [train_arm(problem, arm)[0] for arm in ARMS]
    found = [[evaluate(t[s : s + 1], tests[s][None], tests[s][None]) for t in thetas] for s in range(count)]
    right, loss = np.array([[(float(a[0]), float(b[0])) for a, b in row] for row in found]).transpose(2, 0, 1)
    return summary([arm.name for arm in ARMS], right, loss, problem.columns, tests)


def summary(arms: list[str], right: Floats, loss: Floats, columns: Columns, tests: list[Floats]) -> dict[str, Any]:
    """Return what the report needs of a data set's splits."""
    ratio = columns.ratio[:, 0]
    return {
        "arms": arms,
        "accuracy": right.tolist(),
        "log_loss": loss.tolist(),
        "mean_ratio": float(ratio.mean()),
        "effective_share": float((cp.effective_sample_size(ratio) / ratio.shape[-1]).mean()),
        "test": int(np.mean([len(test) for test in tests])),
        "shared": TEST_SHARE,
    }
