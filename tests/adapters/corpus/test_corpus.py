"""Weighing a corpus in this process: what the shards are must not matter, and nothing may be lost on the way."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from adapters.corpus.corpora import NAMES, columns, options, read, rows_of, spread, write
from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.table_parquet import Parquet
from counterpoise_adapters.cli.weighing import run
from counterpoise_adapters.corpus.engine import LocalEngine
from counterpoise_adapters.corpus.run import run_corpus

SAME = {"rtol": 1e-9, "atol": 1e-12}
FEATURES = {"text": (), "features": ("x",)}
SUMS = {**FEATURES, "method": "ulsif", "calibrate": None}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Weights of the rows in a single file, by the command that knows nothing of shards."""
    folder = tmp_path_factory.mktemp("single")
    found = {}
    for name, how in {"text": {}, "x": FEATURES, "sums": SUMS, "cap": {"cap": 1.2}}.items():
        run(options(write(folder / "rows.jsonl", rows_of()), folder / f"{name}.jsonl", **how))
        found[name] = columns(read(folder / f"{name}.jsonl"))
    return found


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("shards", "seed", "empty"), [(1, 0, False), (2, 0, False), (7, 0, False), (7, 3, False), (5, 4, True)]
)
def test_weights_do_not_depend_on_the_shards(expected, shards, seed, empty, ending, tmp_path):
    corpus = spread(tmp_path / "corpus", rows_of(), shards, ending=ending, seed=seed, empty=empty)
    for name, how in {"text": {}, "x": FEATURES, "sums": SUMS}.items():
        run(options(corpus, tmp_path / name, **how))
        np.testing.assert_allclose(columns(read(tmp_path / name)), expected[name], **SAME)
        for before in corpus.rglob("part-*"):
            after = read(tmp_path / name / before.relative_to(corpus))
            assert [{k: v for k, v in row.items() if k not in NAMES} for row in after] == read(before)


def test_some_rows_of_it_are_learnt_from_and_the_mean_is_over_all(expected, tmp_path):
    run(options(spread(tmp_path / "corpus", rows_of(), 3), tmp_path / "out", cap=1.2))
    found = columns(read(tmp_path / "out"))
    np.testing.assert_allclose(found, expected["cap"], **SAME)
    assert found[:, 1].mean() == pytest.approx(1.0, abs=1e-12)
    assert (found[:, 0] > 1.2).any() and found[:, 1].max() == pytest.approx(1.2 / np.minimum(found[:, 0], 1.2).mean())


@pytest.mark.parametrize("method", [{}, SUMS])
def test_target_samples_may_be_files_of_their_own(method, tmp_path):
    rows = rows_of()
    human, others = ([row for row in rows if (row["source"] == "human") == wanted] for wanted in (True, False))
    write(tmp_path / "human.jsonl", human)
    write(tmp_path / "others.jsonl", others)
    how = {"target": (), "pool": False, **method}
    run(options(tmp_path / "others.jsonl", tmp_path / "single.jsonl", target_file=tmp_path / "human.jsonl", **how))
    targets = spread(tmp_path / "targets", human, 3, seed=1)
    run(options(spread(tmp_path / "corpus", others, 4, seed=2), tmp_path / "out", target_file=targets, **how))
    expected, found = columns(read(tmp_path / "single.jsonl")), columns(read(tmp_path / "out"))
    np.testing.assert_allclose(found, expected, **SAME)
    assert found[:, 0].mean() == pytest.approx(1.0, abs=0.2)
    assert "samples)" in (tmp_path / "out.html").read_text()


def test_the_report_is_that_of_a_single_file(tmp_path, capsys):
    run(options(write(tmp_path / "rows.jsonl", rows_of()), tmp_path / "one.jsonl"))
    one = capsys.readouterr().out.splitlines()
    corpus = spread(tmp_path / "corpus", rows_of(), 5, seed=1)
    run(options(corpus, tmp_path / "out"))
    many = capsys.readouterr().out.splitlines()
    assert many[:-2] == one[:-2]  # all numbers and the advice; the rest names files
    page = (tmp_path / "out.html").read_text()
    assert page.count("<svg") == 3 and "a/part-000.jsonl, row" in page
    manifest = json.loads((tmp_path / "out/_counterpoise/manifest.json").read_text())
    assert sum(shard["rows"] for shard in manifest["shards"].values()) == manifest["rows"] == 420
    assert [path.name for path in (tmp_path / "out/_counterpoise").iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("size", [100, 1000, 2500])
def test_reading_a_shard_holds_the_row_groups_of_one_batch_and_no_more(size, tmp_path):
    numbers = pa.array(np.random.default_rng(0).normal(size=32 * 20_000))
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(numbers, 32), "n": np.arange(20_000)})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=1000, use_dictionary=False)
    before, most, seen = pa.total_allocated_bytes(), 0, []
    for batch in Parquet(tmp_path / "rows.parquet").batches(None, size):
        most = max(most, pa.total_allocated_bytes() - before)
        assert batch.num_rows <= size
        seen += batch["n"].to_pylist()
    assert seen == list(range(20_000))
    assert most < 0.6 * table.nbytes  # of 20 row groups, at most 3 and what they are decoded to


class Interrupted(LocalEngine):
    """An engine that is stopped after some shards, and remembers what it did."""

    def __init__(self, after=10**9):
        self.after, self.jobs = after, []

    def run(self, job, shards, *, featurises=False):
        for outcome in super().run(job, shards, featurises=featurises):
            if len(self.jobs) == self.after:
                raise KeyboardInterrupt
            self.jobs.append((type(job).__name__, outcome.name))
            yield outcome


@pytest.mark.parametrize("after", [0, 1, 3, 4, 6, 8, 11, 12, 15])
def test_a_run_that_was_stopped_goes_on_at_the_shard_where_it_was(expected, after, tmp_path, capsys):
    corpus = spread(tmp_path / "corpus", rows_of(), 4)
    with pytest.raises(SystemExit) as leaving:
        run_corpus(options(corpus, tmp_path / "out"), Interrupted(after))
    assert leaving.value.code == 130
    assert "goes on from here" in capsys.readouterr().err
    assert not (tmp_path / "out.html").exists()
    engine = Interrupted()
    run_corpus(options(corpus, tmp_path / "out"), engine)
    np.testing.assert_allclose(columns(read(tmp_path / "out")), expected["text"], **SAME)
    again = [job for job in engine.jobs if job[0] in ("DrawJob", "ScoreJob")]
    assert len(again) == len(set(again)) == 8 - min(max(after - 4, 0), 8)


@pytest.mark.parametrize("after", [9, 13])
def test_sums_that_were_made_before_a_stop_are_not_made_again(expected, after, tmp_path):
    corpus = spread(tmp_path / "corpus", rows_of(), 4)
    with pytest.raises(SystemExit):
        run_corpus(options(corpus, tmp_path / "out", **SUMS), Interrupted(after))
    engine = Interrupted()
    run_corpus(options(corpus, tmp_path / "out", **SUMS), engine)
    np.testing.assert_allclose(columns(read(tmp_path / "out")), expected["sums"], **SAME)
    assert [job for job, _ in engine.jobs].count("SumJob") == max(0, 12 - after)
    assert [path.name for path in (tmp_path / "out/_counterpoise").iterdir()] == ["manifest.json"]


def test_what_changed_since_a_run_was_stopped_is_noticed(tmp_path):
    corpus = spread(tmp_path / "corpus", rows_of(), 4)
    with pytest.raises(SystemExit):
        run_corpus(options(corpus, tmp_path / "out"), Interrupted(13))  # one shard is written
    with pytest.raises(InputError, match="an unfinished run that differs in cap, seed;.* --force"):
        run_corpus(options(corpus, tmp_path / "out", cap=2.0, seed=1))
    write(corpus / "b/part-001.jsonl", rows_of(seed=5)[:50])
    shard = next((tmp_path / "out").rglob("part-*"))
    shard.write_text(shard.read_text().replace("plain", "other"))
    run_corpus(options(corpus, tmp_path / "out"))
    shutil.copytree(corpus, tmp_path / "copy")
    run(options(tmp_path / "copy", tmp_path / "fresh"))
    for path in (tmp_path / "fresh").rglob("part-*"):
        assert path.read_bytes() == (tmp_path / "out" / path.relative_to(tmp_path / "fresh")).read_bytes()


def corrupt(path, how):
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "not Parquet":
        path.write_bytes(b"PAR1 and nothing else")
    elif how == "not JSON":
        path.write_bytes(content + b"{\n")
    elif how == "null":
        path.write_bytes(content.replace(b'"text": "', b'"text": null, "t": "', 1))
    elif how == "absent bytes":
        path.write_bytes(content[:200] + bytes(len(content) - 600) + content[-400:])


@pytest.mark.parametrize(
    ("how", "ending", "said"),
    [
        ("not Parquet", "parquet", "part-002.parquet: not a Parquet file"),
        ("cut", "parquet", "part-002.parquet: not a Parquet file"),
        ("absent bytes", "parquet", "part-002.parquet: "),
        ("not JSON", "jsonl", "part-002.jsonl, row .*: not valid JSON"),
        ("null", "jsonl", "part-002.jsonl, row 1: column 'text' is null"),
    ],
)
def test_a_corrupt_shard_is_named_and_stops_the_run_or_is_set_aside(how, ending, said, tmp_path, capsys):
    corpus = spread(tmp_path / "corpus", rows_of(), 4, ending=ending)
    shard = corpus / f"a/part-002.{ending}"
    shutil.copytree(corpus, tmp_path / "rest")
    (tmp_path / "rest" / shard.relative_to(corpus)).unlink()
    corrupt(shard, how)
    with pytest.raises(InputError, match=said):
        run(options(corpus, tmp_path / "out"))
    assert not list((tmp_path / "out").rglob("part-*"))
    run(options(corpus, tmp_path / "out", on_error="skip"))
    assert "set aside: " in capsys.readouterr().out
    assert shard.name in (tmp_path / "out.html").read_text()
    manifest = json.loads((tmp_path / "out/_counterpoise/manifest.json").read_text())
    assert list(manifest["set_aside"]) == [f"a/{shard.name}"] and f"a/{shard.name}" not in manifest["shards"]
    run(options(tmp_path / "rest", tmp_path / "expected"))
    assert columns(read(tmp_path / "out")).tolist() == columns(read(tmp_path / "expected")).tolist()


class Damaging(LocalEngine):
    """An engine on whose machine a shard goes bad after it was scanned."""

    def __init__(self, stage, shard):
        self.stage, self.shard = stage, shard

    def run(self, job, shards, *, featurises=False):
        if type(job).__name__ == self.stage:
            self.shard.write_text("{\n")
        return super().run(job, shards, featurises=featurises)


@pytest.mark.parametrize(("stage", "how"), [("DrawJob", {}), ("SumJob", SUMS), ("ScoreJob", {}), ("WriteJob", {})])
def test_a_shard_that_goes_bad_later_leaves_no_trace_in_the_weights(stage, how, tmp_path):
    corpus = spread(tmp_path / "corpus", rows_of(), 4)
    shutil.copytree(corpus, tmp_path / "rest")
    (tmp_path / "rest/a/part-002.jsonl").unlink()
    engine = Damaging(stage, corpus / "a/part-002.jsonl")
    run_corpus(options(corpus, tmp_path / "out", on_error="skip", **how), engine)
    run(options(tmp_path / "rest", tmp_path / "expected", **how))
    assert columns(read(tmp_path / "out")).tolist() == columns(read(tmp_path / "expected")).tolist()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"out": "corpus/out"}, "lies in the corpus"),
        ({"out": "corpus"}, "holds input files|lies in the corpus"),
        ({"out": "file.jsonl"}, "several files are weighed into a folder"),
        ({"out": "there"}, "there: exists already"),
        ({"out": "no/where"}, "the folder no does not exist"),
        ({"data": "none*.jsonl"}, "no JSONL, CSV, TSV or Parquet file is there"),
        ({"data": "mixed"}, "files of several formats .jsonl, parquet."),
        ({"data": "unlike"}, "unlike feature columns: .*'x': 3.* against .*'x': 2"),
        ({"target": ("source=alien",)}, "matches none of the 420 rows .values: bot0, bot1, human"),
        ({"target": ("source=human", "source=bot0", "source=bot1")}, "matches all 420 rows"),
        ({"text": ("absent",)}, "no column 'absent'"),
        ({"prefix": "", "data": "weighed"}, "there is a column 'weight' already"),
        ({"answers": "a", "correct": "b"}, "--answers works on one file"),
        ({"method": "ulsif"}, "--calibrate is for log-odds of classifiers"),
        ({"method": "ulsif", "calibrate": None}, "--method ulsif needs few numbers a row"),
        ({**SUMS, "answers": "a", "correct": "b"}, "--answers needs --method classifier"),
        ({**SUMS, "target": ("id=7",)}, "1 target rows leave one of 3 folds without any; lower --folds"),
    ],
)
def test_wrong_corpora_and_options(changes, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spread(tmp_path / "corpus", rows_of(), 2)
    write(tmp_path / "mixed/a.jsonl", rows_of(20))
    write(tmp_path / "mixed/b.parquet", rows_of(20))
    write(tmp_path / "unlike/a.jsonl", rows_of(60))
    write(tmp_path / "unlike/b.jsonl", [{**row, "x": [1.0, 2.0]} for row in rows_of(60)])
    write(tmp_path / "weighed/a.jsonl", [{**row, "weight": 1} for row in rows_of(20)])
    write(tmp_path / "there/mine.txt", [])
    (tmp_path / "file.jsonl").touch()
    how = FEATURES if changes.get("data") == "unlike" else {}
    with pytest.raises(InputError, match=said):
        run(options(**{"data": "corpus", "out": "out", **how, **changes}))
    assert not list(tmp_path.glob("out/**/*.jsonl")) or not (tmp_path / "out/a.jsonl").exists()


@pytest.mark.parametrize("data", ["rows.jsonl", "corpus"])
@pytest.mark.parametrize("wrong", [{"features": ("absent",)}, {"features": (), "text": ("text",)}])
def test_a_run_that_did_nothing_leaves_nothing_in_the_way_of_the_right_one(data, wrong, tmp_path):
    write(tmp_path / "rows.jsonl", rows_of())
    spread(tmp_path / "corpus", rows_of(), 2)
    out = tmp_path / f"out-{data}"
    with pytest.raises(InputError) as refusal:
        run(options(tmp_path / data, out, **{**SUMS, **wrong}))
    assert ("--on-error skip" in str(refusal.value)) == (data == "corpus" and "text" not in wrong)
    assert not [path for path in tmp_path.rglob("*") if "counterpoise" in path.name]
    run(options(tmp_path / data, out, **SUMS))


def test_a_place_that_cannot_be_written_is_no_fault_of_a_shard(tmp_path):
    corpus = spread(tmp_path / "corpus", rows_of(), 3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b").touch()  # where a folder is to be
    with pytest.raises(InputError, match="cannot write"):
        run(options(corpus, tmp_path / "out", on_error="skip", force=True))
