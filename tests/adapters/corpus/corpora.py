"""Corpora to weigh, and how to read them back."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from counterpoise_adapters.cli.options import WeighOptions

NAMES = ("ratio", "weight", "log_odds")


def rows_of(n=420, seed=0):
    """Rows of text and numbers from three sources, a tenth of them copies, that a classifier tells apart in part."""
    generator = random.Random(seed)
    rows = []
    for i in range(n):
        human = i % 3 == 0
        weights = [2, 3, 2, 2, 1, 1] if human else [2, 1, 2, 1, 3, 2]
        text = " ".join(generator.choices(["plain", "warm", "odd", "short", "smooth", "long"], weights, k=5))
        shift = 0.8 * human
        numbers = [generator.gauss(shift, 1), generator.gauss(0, 1), generator.gauss(-shift, 1)]
        rows.append({"id": i, "source": "human" if human else f"bot{i % 2}", "text": text, "x": numbers})
    for i in range(0, n, 10):
        rows[i] = {**rows[(7 * i) % n], "id": i}
    return rows


def write(path, rows):
    """Write a shard, as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        schema = pa.schema({"id": pa.int64(), "source": pa.string(), "text": pa.string(), "x": pa.list_(pa.float64())})
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=50)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def spread(folder, rows, shards, *, ending="jsonl", seed=0, empty=False):
    """Spread rows over shards of uneven sizes, in an order that the seed chooses."""
    generator = random.Random(seed)
    order = list(rows)
    if seed:
        generator.shuffle(order)
    cuts = sorted(generator.sample(range(1, len(rows)), shards - 1))
    parts = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    if empty:
        parts.insert(shards // 2, [])
    for number, part in enumerate(parts):
        write(folder / f"{'ab'[number % 2]}/part-{number:03}.{ending}", part)
    return folder


def read(path):
    """Return the rows of a shard, or of all shards in a folder, in order."""
    path = Path(path)
    if path.is_dir():
        files = sorted(f for f in path.rglob("part-*") if f.suffix in (".jsonl", ".parquet"))
        return [row for file in files for row in read(file)]
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text().splitlines()]


def columns(rows):
    """Return ratio, weight and log-odds of each row, by its id; every id must be there once."""
    found = {row["id"]: [row[name] for name in NAMES] for row in rows}
    assert len(found) == len(rows)
    return np.asarray([found[i] for i in sorted(found)])


def options(data, out, **changes):
    """Return the options of a command."""
    given = {
        "target": ("source=human",), "text": ("text",), "report": Path(f"{out}.html"), "fit_rows": 150,
        "batch_size": 64, "folds": 3, **changes,
    }  # fmt: skip
    return WeighOptions(data=Path(data), out=Path(out), **given)
