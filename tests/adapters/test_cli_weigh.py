"""The weigh command as a stranger meets it: a real process, real files, and every way to get it wrong."""

import csv
import functools
import gzip
import io
import json
import math
import os
import random
import re
import resource
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.features import ColumnFeatures
from counterpoise_adapters.cli.files import open_table
from counterpoise_adapters.cli.options import WeighOptions
from counterpoise_adapters.cli.pairs import PairTable
from counterpoise_adapters.cli.scan import numbered_rows
from counterpoise_adapters.cli.weighing import run

NAMES = ["ratio", "weight", "log_odds"]


def rows_of_words(n=120, seed=0, share=3):
    """Rows whose target third prefers some words, without being separable by them."""
    generator = random.Random(seed)
    rows = []
    for i in range(n):
        human = i % share == 0
        words = generator.choices(
            ["plain", "warm", "odd", "short", "smooth", "long"],
            [2, 3, 2, 2, 1, 1] if human else [2, 1, 2, 1, 3, 2],
            k=6,
        )
        rows.append({"id": i, "source": "human" if human else f"bot{i % 2}", "text": " ".join(words)})
    return rows


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_jsonl(path):
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    return [json.loads(line) for line in text.splitlines()]


def options(data, out, **changes):
    given = {"target": ("source=human",), "text": ("text",), "report": out.with_suffix(".html"), **changes}
    return WeighOptions(data=data, out=out, **given)


@pytest.fixture
def data(tmp_path):
    return write_jsonl(tmp_path / "rows.jsonl", rows_of_words())


def test_rows_come_back_in_order_with_weights_of_mean_one(data, command, tmp_path):
    out = tmp_path / "weighed.jsonl"
    done = command("weigh", data, "--target", "source=human", "--text", "text", "--out", out)
    assert done.returncode == 0, done.stderr
    rows, given = read_jsonl(out), rows_of_words()
    assert [{key: row[key] for key in given[0]} for row in rows] == given
    assert list(rows[0])[-3:] == NAMES
    weight, ratio, log_odds = (np.asarray([row[name] for row in rows]) for name in ("weight", "ratio", "log_odds"))
    assert math.fsum(weight) / len(weight) == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(weight * ratio.mean(), ratio, rtol=1e-12)
    # The three columns agree: the log-odds are those of being a target row at the file's shares.
    np.testing.assert_allclose(1 / (1 + np.exp(-log_odds)), ratio / 3, rtol=1e-9)
    assert ratio.max() <= 3.0
    human = np.asarray([row["source"] == "human" for row in rows])
    assert weight[human].mean() > weight[~human].mean()
    assert "mean ratio" in done.stdout and "report:" in done.stdout
    assert done.stderr == ""


def test_the_input_is_untouched_and_lines_keep_their_bytes(tmp_path):
    lines = [
        json.dumps(row)[:-1] + ', "n": 1.50, "big": 12345678901234567890, "é": "\\u00e9"}' for row in rows_of_words()
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(lines))
    before = data.read_bytes()
    run(options(data, tmp_path / "out.jsonl"))
    assert data.read_bytes() == before
    for given, got in zip(lines, (tmp_path / "out.jsonl").read_text().splitlines(), strict=True):
        assert got.startswith(given[:-1] + ', "ratio": ')


def test_same_seed_same_bytes(data, tmp_path):
    for name in ("a", "b"):
        run(options(data, tmp_path / f"{name}.jsonl.gz", report=tmp_path / f"{name}.html"))
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_every_format_gives_the_same_weights(data, tmp_path):
    rows = rows_of_words()
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(data.read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows).replace_schema_metadata({"kept": "yes"}), tmp_path / "rows.parquet")
    run(options(data, tmp_path / "out.jsonl"))
    expected = [row["weight"] for row in read_jsonl(tmp_path / "out.jsonl")]
    for name in ("rows.csv", "rows.jsonl.gz", "rows.parquet"):
        run(options(tmp_path / name, tmp_path / f"out.{name}", report=tmp_path / f"{name}.html"))
    with (tmp_path / "out.rows.csv").open(newline="") as file:
        assert [float(row["weight"]) for row in csv.DictReader(file)] == expected
    assert [row["weight"] for row in read_jsonl(tmp_path / "out.rows.jsonl.gz")] == expected
    table = pq.read_table(tmp_path / "out.rows.parquet")
    assert table["weight"].to_pylist() == expected
    assert table.schema.metadata[b"kept"] == b"yes"
    assert all(table.schema.field(name).type == pa.float64() for name in NAMES)


def test_parquet_keeps_its_row_groups_and_the_dictionaries_that_were_worth_it(tmp_path):
    rows = [{**row, "x": [float(4 * i + k) for k in range(4)]} for i, row in enumerate(rows_of_words())]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=70, compression="zstd")
    run(options(tmp_path / "rows.parquet", tmp_path / "out.parquet"))
    before, after = (pq.ParquetFile(tmp_path / name).metadata for name in ("rows.parquet", "out.parquet"))
    sizes = [[part.row_group(k).num_rows for k in range(part.num_row_groups)] for part in (before, after)]
    assert sizes[0] == sizes[1]
    chunks = [after.row_group(0).column(k) for k in range(after.num_columns)]
    with_dictionary = {chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page}
    assert "source" in with_dictionary and with_dictionary <= {"source", "text", "prompt"}
    assert {chunk.compression for chunk in chunks} == {"ZSTD"}
    written = pq.read_table(tmp_path / "out.parquet")
    assert written.select(table.column_names).equals(table)


def test_parquet_of_the_datasets_library_can_be_loaded_again(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(rows_of_words()).to_parquet(tmp_path / "rows.parquet")
    run(options(tmp_path / "rows.parquet", tmp_path / "out.parquet"))
    features = datasets.Features.from_arrow_schema(pq.read_schema(tmp_path / "out.parquet"))
    assert features["weight"].dtype == "float64"
    assert list(features) == ["id", "source", "text", *NAMES]


def test_a_large_file_is_learnt_from_a_sample_and_weighed_alike(tmp_path):
    rows = rows_of_words(900)
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    run(options(data, tmp_path / "all.jsonl"))
    run(options(data, tmp_path / "some.jsonl", fit_rows=450))
    every, some = (
        np.asarray([row["log_odds"] for row in read_jsonl(tmp_path / name)]) for name in ("all.jsonl", "some.jsonl")
    )
    assert np.isfinite(some).all()
    assert np.corrcoef(every, some)[0, 1] > 0.6
    mean = np.mean([row["ratio"] for row in read_jsonl(tmp_path / "some.jsonl")])
    assert mean == pytest.approx(1.0, abs=0.15)


def test_copies_of_a_row_share_their_weight(tmp_path):
    rows = rows_of_words(150)
    copied = [*rows, *({**row, "id": -1} for row in rows)]
    run(options(write_jsonl(tmp_path / "rows.jsonl", copied), tmp_path / "out.jsonl", fit_rows=150))
    weight = [row["weight"] for row in read_jsonl(tmp_path / "out.jsonl")]
    assert weight[:150] == pytest.approx(weight[150:], rel=1e-9)


def test_a_second_file_of_target_samples(tmp_path):
    rows = rows_of_words(240, share=2)
    human = write_jsonl(tmp_path / "human.jsonl", [{"text": row["text"]} for row in rows if row["source"] == "human"])
    other = write_jsonl(tmp_path / "other.jsonl", [row for row in rows if row["source"] != "human"])
    out = tmp_path / "out.jsonl"
    run(options(other, out, target=(), target_file=human))
    weighed = read_jsonl(out)
    assert len(weighed) == 120
    ratio, log_odds = (np.asarray([row[name] for row in weighed]) for name in ("ratio", "log_odds"))
    np.testing.assert_allclose(np.log(ratio), log_odds, rtol=1e-9, atol=1e-12)  # as many of each
    assert np.mean([row["weight"] for row in weighed]) == pytest.approx(1.0, abs=1e-12)


def test_features_embedders_and_nested_columns(command, tmp_path):
    rows = [
        {
            "source": row["source"],
            "e": [len(row["text"]), row["text"].count("plain")],
            "f0": 1.5,
            "f1": row["id"] % 7,
            "in": {"side": row["text"]},
        }
        for row in rows_of_words()
    ]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    (tmp_path / "lengths.py").write_text("def embed(texts):\n    return [[len(t), t.count('warm')] for t in texts]\n")
    for name, arguments in {
        "e": ["--features", "e"],
        "f": ["--features", "f*", "--cap", "1.5"],
        "n": ["--text", "in.side"],
        "m": ["--text", "in.side", "--embedder", "lengths:embed", "--pool", "--calibrate", "none"],
    }.items():
        out = tmp_path / f"{name}.jsonl"
        done = command("weigh", data, "--target", "source=human", *arguments, "--out", out)
        assert done.returncode == 0, done.stderr
        assert np.mean([row["weight"] for row in read_jsonl(out)]) == pytest.approx(1.0, abs=1e-12)


def test_answers_by_source_become_pairs(tmp_path):
    words = [row["text"] for row in rows_of_words(180)]
    rows = [
        {
            "id": i,
            "question": "which?",
            "answers": {"a": words[3 * i + 1], "b": words[3 * i + 2], "t": words[3 * i]},
            "correct": {"a": i % 2 == 0, "b": i % 3 == 0, "t": i % 5 < 3},
        }
        for i in range(60)
    ]
    out = tmp_path / "pairs.jsonl"
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    run(options(data, out, target=("t",), answers="answers", correct="correct", text=("chosen", "rejected")))
    pairs = read_jsonl(out)
    expected = sum(r["correct"][x] != r["correct"][y] for r in rows for x, y in ("ab", "at", "bt"))
    assert len(pairs) == expected
    for pair in pairs:
        row = rows[pair["id"]]
        assert row["correct"][pair["chosen_source"]] and not row["correct"][pair["rejected_source"]]
        assert pair["chosen"] == row["answers"][pair["chosen_source"]]
        assert (pair["pair_sources"] == "target") == ("t" in (pair["chosen_source"], pair["rejected_source"]))


class Page(HTMLParser):
    """Collects the tags of a page and the addresses that it would fetch."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.fetched = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_the_report_is_one_file_that_escapes_the_data(tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7*7 }}"
    rows = rows_of_words()
    for row in rows:
        row["text"] += " " + evil
        row["source"] = row["source"].replace("bot1", "<b onclick=x>bot</b>")
    data = write_jsonl(tmp_path / "rows <i>x<i>.jsonl", rows)
    run(options(data, tmp_path / "out.jsonl"))
    text = (tmp_path / "out.html").read_text()
    page = Page(text)
    assert not page.tags & {"script", "img", "iframe", "link", "object", "i", "image"}
    assert page.fetched == []
    assert "url(" not in text and "@import" not in text
    assert "&lt;script&gt;alert(1)" in text and "{{ 7*7 }}" in text
    assert "&lt;b onclick=x&gt;bot" in text
    for said in ("AUC", "Effective rows", "Mean of the ratio", "Largest weights", "Smallest weights"):
        assert said in text
    assert text.count("<svg") == 3
    assert not re.search(r"\b(nan|inf)\b", text)


def no_shift(n=200):
    generator = random.Random(1)
    words = ["plain", "warm", "odd", "short", "vivid", "smooth", "long", "list"]
    return [
        {"source": "human" if i % 4 == 0 else "bot", "text": " ".join(generator.choices(words, k=8))} for i in range(n)
    ]


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        (no_shift(), "Do not weigh: the target rows look like the others."),
        (
            [{**row, "text": " ".join([row["source"]] * 3 + [row["text"]])} for row in no_shift(600)],
            "Do not weigh: hardly any other row",
        ),
        (rows_of_words(600), "Weigh"),
    ],
)
def test_advice(rows, verdict, tmp_path, capsys):
    run(options(write_jsonl(tmp_path / "rows.jsonl", rows), tmp_path / "out.jsonl"))
    assert f"\n{verdict}" in capsys.readouterr().out


def broken(path, kind):
    """Write a file with one thing wrong at row 17, and return the options that meet it."""
    rows = rows_of_words()
    if kind == "no column":
        del rows[16]["text"]
    elif kind == "null":
        rows[16]["text"] = None
    elif kind == "number":
        rows[16]["text"] = 5
    elif kind == "no target column":
        del rows[16]["source"]
    elif kind == "taken":
        rows[16]["weight"] = 1
    rows = [{**row, "x": [0.5, row["id"] % 3]} for row in rows]
    if kind == "nan":
        rows[16]["x"][1] = float("nan")
    elif kind == "width":
        rows[16]["x"] = [1.0]
    lines = [json.dumps(row).encode() for row in rows]
    if kind == "not UTF-8":
        lines[16] = lines[16].replace(b"human", b"h\xfcman").replace(b"bot", b"b\xf6t")
    elif kind == "not JSON":
        lines[16] = lines[16][:-4]
    elif kind == "a list":
        lines[16] = b"[1]"
    path.write_bytes(b"\n".join(lines))


WRONG_ROWS = {
    "no column": "no column 'text'",
    "null": "column 'text' is null",
    "number": "is the int 5, not text",
    "no target column": "no column 'source'",
    "taken": "a column 'weight' already",
    "nan": "'x' is nan",
    "width": "has 1 numbers where earlier rows have 2",
    "not UTF-8": "not UTF-8",
    "not JSON": "not valid JSON",
    "a list": "must be one object",
}


@pytest.mark.parametrize("kind", WRONG_ROWS)
def test_a_wrong_row_is_named(kind, tmp_path):
    data = tmp_path / "rows.jsonl"
    broken(data, kind)
    chosen = {"text": (), "features": ("x",)} if kind in ("nan", "width") else {}
    with pytest.raises(InputError, match=rf"rows.jsonl, row 17: .*{re.escape(WRONG_ROWS[kind])}"):
        run(options(data, tmp_path / "out.jsonl", **chosen))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": Path("none.jsonl")}, "none.jsonl: no such file"),
        ({"data": Path("empty.jsonl")}, "empty.jsonl: the file is empty"),
        ({"data": Path("blank.jsonl")}, "blank.jsonl: the file has no rows"),
        ({"data": Path("cut.jsonl.gz")}, "cut.jsonl.gz: the gzip stream is damaged"),
        ({"data": Path("bad.parquet"), "out": Path("o.parquet")}, "bad.parquet: not a Parquet file"),
        ({"data": Path("ragged.csv"), "out": Path("o.csv")}, "ragged.csv, row 2: has 3 fields"),
        ({"data": Path("folder.jsonl")}, "folder.jsonl: no JSONL, CSV, TSV or Parquet file is there"),
        ({"target": ("source=alien",)}, "matches none of the 120 rows (values: bot0, bot1, human)"),
        ({"target": ("source=human", "source=bot0", "source=bot1")}, "matches all 120 rows"),
        ({"target": ("source",)}, "--target takes COLUMN=VALUE"),
        ({"target": ()}, "say which samples are target samples"),
        ({"target_file": Path("rows.jsonl")}, "--target and --target-file both say which samples"),
        ({"text": ()}, "name a text column"),
        ({"folds": 50}, "40 target samples cannot fill 50 folds"),
        ({"out": Path("o.csv")}, "the output has the input's format"),
        ({"out": Path("rows.jsonl"), "force": True}, "rows.jsonl: this is an input file"),
        ({"out": Path("link.jsonl"), "force": True}, "link.jsonl: this is an input file"),
        ({"out": Path("there.jsonl")}, "there.jsonl: exists already"),
        ({"out": Path("no/where.jsonl")}, "the folder no does not exist"),
        ({"cap": 0.0}, "--cap is 0.0"),
        ({"embedder": "absent:f"}, "cannot import 'absent'"),
    ],
)
def test_wrong_files_and_options(changes, message, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty.jsonl").touch()
    Path("blank.jsonl").write_text("\n\n")
    Path("cut.jsonl.gz").write_bytes(gzip.compress(data.read_bytes())[:-40])
    Path("bad.parquet").write_bytes(b"PAR1 and nothing else")
    Path("ragged.csv").write_text("source,text\nhuman,a\nbot,b,c\n")
    Path("folder.jsonl").mkdir()
    Path("link.jsonl").symlink_to("rows.jsonl")
    Path("there.jsonl").write_text("mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    given = {"data": Path("rows.jsonl"), "out": Path("out.jsonl"), **changes}
    with pytest.raises(InputError, match=re.escape(message)):
        run(options(**given))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def one_line_and_status_two(done, *said):
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("counterpoise: ")
    for part in said:
        assert part in done.stderr
    assert done.stdout == ""


def test_a_wrong_row_ends_the_process_with_one_line(command, tmp_path):
    broken(tmp_path / "rows.jsonl", "not UTF-8")
    arguments = ["weigh", "rows.jsonl", "--target", "source=human", "--text", "text", "--out", "out.jsonl"]
    one_line_and_status_two(command(*arguments), "rows.jsonl, row 17: not UTF-8")
    assert os.listdir(tmp_path) == ["rows.jsonl"]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "csv", "parquet"])
def test_a_full_disk_leaves_nothing_behind(ending, command, tmp_path):
    rows = [{**row, "id": random.Random(row["id"]).random(), "pad": os.urandom(300).hex()} for row in rows_of_words()]
    data = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), data)
    elif ending == "csv":
        data.write_text("id,source,text,pad\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows))
    else:
        whole = "".join(json.dumps(row) + "\n" for row in rows).encode()
        data.write_bytes(gzip.compress(whole) if ending.endswith("gz") else whole)
    arguments = ["weigh", data.name, "--target", "source=human", "--text", "text", "--out", f"out.{ending}"]
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000))
    done = command(*arguments, preexec_fn=limit)
    one_line_and_status_two(done, f"out.{ending}: cannot write", "nothing was written")
    assert os.listdir(tmp_path) == [data.name]


@pytest.mark.parametrize(("now", "said"), [(2, "shrank|changed"), (4, "grew|changed")])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "pairs"])
def test_a_file_that_has_other_rows_than_when_it_was_read_is_refused(kind, now, said, tmp_path):
    path, rows = tmp_path / f"rows.{'jsonl' if kind == 'pairs' else kind}", [{"x": float(i)} for i in range(now)]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "csv":
        path.write_text("x\n" + "".join(f"{row['x']}\n" for row in rows))
    else:
        write_jsonl(path, [{**row, "a": {"t": "yes", "o": "no"}, "c": {"t": True, "o": False}} for row in rows])
    table = open_table(path)
    if kind == "pairs":
        table = PairTable(table, answers="a", correct="c", target="t")
    three = np.ones(3)
    with pytest.raises(InputError, match=f"{said}.* while"):
        list(table.copy(io.BytesIO(), {"weight": three}))
    with pytest.raises(InputError, match=f"{said}.* while"):
        list(numbered_rows(table, ColumnFeatures(["x"]), three > 0, "reading"))


def test_memory_is_that_of_the_sample_not_of_the_file(tmp_path):
    rows = [json.dumps(row) for row in rows_of_words(3000)]
    peaks = []
    for times in (1, 40):
        (tmp_path / "rows.jsonl").write_text("\n".join(rows * times))
        code = (
            "import resource, sys; from counterpoise_adapters.cli import main\n"
            "try: main()\nexcept SystemExit as leaving: assert not leaving.code, leaving.code\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                code,
                "weigh",
                "rows.jsonl",
                "--target",
                "source=human",
                "--text",
                "text",
                "--out",
                "out.jsonl",
                "--fit-rows",
                "1000",
                "--force",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stderr.split()[-1]))
    # 117,000 more rows at 300 bytes would be 35 MB as text alone, and several times that as objects; the arrays
    # that are kept (source, key, ratio, log-odds, weight and what is computed from them) are about 100 bytes a row.
    assert peaks[1] - peaks[0] < 117_000 * 250 / 1024
