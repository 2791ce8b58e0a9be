"""A real cluster of two nodes on this machine: the weights of one process, every row once, whatever dies on the way."""

import os
import signal
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from adapters.corpus.corpora import columns, options, read, rows_of, spread, write
from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.weighing import run

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
pytest.importorskip("ray")
import ray
import ray.data
from counterpoise_adapters.corpus.run import run_corpus
from counterpoise_adapters.ray import weigh
from counterpoise_adapters.ray.engine import RayEngine, _at_most
from ray.cluster_utils import Cluster

pytestmark = pytest.mark.slow
SAME = {"rtol": 1e-9, "atol": 1e-12}
STORE = 100 * 2**20
# An embedder as a user writes one; while the file "slow" is there it tells who it is, and takes its time.
EMBEDDER = """
import os, pathlib, time
FOLDER = pathlib.Path(__file__).parent

def embed(texts):
    if (FOLDER / "slow").exists():
        (FOLDER / f"pid-{os.getpid()}").touch()
        time.sleep(0.3)
    return [[text.count(word) for word in ("plain", "warm", "odd", "smooth", "long")] for text in texts]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    (folder / "embedder_of_mine.py").write_text(EMBEDDER)
    return folder


def two_nodes():
    """Start a cluster; on a busy machine Ray's own daemons may wait for each other in vain, and are started again."""
    for attempt in range(3):
        cluster = Cluster()
        try:
            cluster.add_node(num_cpus=1, object_store_memory=STORE, include_dashboard=False)
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
            return cluster
        except Exception:
            cluster.shutdown()
            if attempt == 2:
                raise


@pytest.fixture(scope="module")
def cluster(folder):
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    kept = {name: os.environ.get(name) for name in ("PYTHONPATH",)}
    os.environ["PYTHONPATH"] = paths  # the nodes, and so the workers, inherit it
    cluster = None
    try:
        cluster = two_nodes()
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield cluster
    finally:
        ray.shutdown()
        if cluster is not None:
            cluster.shutdown()
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture(scope="module")
def expected(folder):
    rows = write(folder / "rows.jsonl", rows_of())
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        run(options(rows, folder / "rows.out.jsonl", embedder="embedder_of_mine:embed"))
    return columns(read(folder / "rows.out.jsonl"))


@pytest.mark.parametrize(("shards", "ending", "seed"), [(1, "parquet", 0), (7, "jsonl", 3)])
def test_the_cluster_gives_the_weights_of_one_process(cluster, expected, shards, ending, seed, tmp_path, folder):
    corpus = spread(tmp_path / "corpus", rows_of(), shards, ending=ending, seed=seed, empty=shards > 1)
    run_corpus(options(corpus, tmp_path / "out", embedder="embedder_of_mine:embed"), RayEngine())
    np.testing.assert_allclose(columns(read(tmp_path / "out")), expected, **SAME)
    assert "samples)" not in (tmp_path / "out.html").read_text()
    for before in corpus.rglob("part-*"):
        after = read(tmp_path / "out" / before.relative_to(corpus))
        assert [row["id"] for row in after] == [row["id"] for row in read(before)]


def test_sums_over_every_row_are_those_of_one_process(cluster, tmp_path):
    how = {"text": (), "features": ("x",), "method": "ulsif", "calibrate": None}
    run(options(write(tmp_path / "rows.jsonl", rows_of()), tmp_path / "one.jsonl", **how))
    corpus = spread(tmp_path / "corpus", rows_of(), 7, seed=3, empty=True)
    run_corpus(options(corpus, tmp_path / "out", **how), RayEngine(method="ulsif"))
    np.testing.assert_allclose(columns(read(tmp_path / "out")), columns(read(tmp_path / "one.jsonl")), **SAME)
    features = {"features": ["x"], "fit_rows": 150, "folds": 3, "workers": 2}
    weighed = weigh(
        ray.data.from_items(rows_of(), override_num_blocks=3), target="source=human", method="ulsif", **features
    )
    np.testing.assert_allclose(columns(weighed.take_all()), columns(read(tmp_path / "one.jsonl")), **SAME)
    with pytest.raises(InputError, match="few numbers a row"):
        run_corpus(options(corpus, tmp_path / "text", method="ulsif", calibrate=None), RayEngine())


def test_a_dataset_gives_them_too(cluster, expected):
    rows = ray.data.from_items(rows_of(), override_num_blocks=5)
    how = {"text": ["text"], "embedder": "embedder_of_mine:embed", "fit_rows": 150, "folds": 3, "workers": 2}
    weighed = weigh(rows, target="source=human", batch_size=64, **how)
    assert weighed.columns()[-3:] == ["ratio", "weight", "log_odds"]
    np.testing.assert_allclose(columns(weighed.take_all()), expected, **SAME)
    with pytest.raises(ValueError, match="dataset, row .*: column 'absent'|no column 'absent'"):
        weigh(rows, target="source=human", text=["absent"])
    with pytest.raises(ValueError, match="matches none of the 420 rows"):
        weigh(rows, target="source=alien", text=["text"])
    with pytest.raises(ValueError, match="target_dataset"):
        weigh(rows, text=["text"])


def test_no_more_workers_than_asked_for_are_at_work(cluster):
    def busy_for(seconds):
        start = time.time()
        time.sleep(seconds)
        return start, time.time()

    spans = sorted(ray.get(_at_most(1, busy_for, [(0.1,)] * 4, cpus=1)))
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert len(ray.get(_at_most(2, busy_for, [(0.0,)] * 5, cpus=1))) == 5


def test_a_corrupt_shard_is_named(cluster, tmp_path):
    corpus = spread(tmp_path / "corpus", rows_of(), 3, ending="parquet")
    (corpus / "b/part-001.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match="part-001.parquet: not a Parquet file"):
        run_corpus(options(corpus, tmp_path / "out"), RayEngine())


def while_scoring(out, folder, act):
    """Act in a thread of its own, on a process that is scoring, as soon as one shard is scored."""

    def wait():
        seen = False
        while time.monotonic() < limit:
            time.sleep(0.01)
            if not list((out / "_counterpoise/score").glob("*.npz")):
                continue
            pids = [int(path.name.partition("-")[2]) for path in folder.glob("pid-*")]
            if not seen:  # until now these were of rows drawn, or scored
                for path in folder.glob("pid-*"):
                    path.unlink()
                seen = True
            elif pids:  # it has just begun a batch, and sleeps
                acted.append(act(pids[0]))
                (folder / "slow").unlink()
                return

    acted = []
    limit = time.monotonic() + 120
    for path in folder.glob("pid-*"):
        path.unlink()
    (folder / "slow").touch()
    thread = threading.Thread(target=wait)
    thread.start()
    return thread, acted


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    return pid


def test_a_worker_and_then_a_node_die_and_every_row_is_weighed_once(cluster, expected, tmp_path, folder):
    corpus = spread(tmp_path / "corpus", rows_of(), 7, seed=2)
    node = next(iter(cluster.worker_nodes))
    for name, act in {"worker": kill, "node": lambda pid: cluster.remove_node(node, allow_graceful=False)}.items():
        out = tmp_path / name
        thread, acted = while_scoring(out, folder, act)
        run_corpus(options(corpus, out, embedder="embedder_of_mine:embed", batch_size=16), RayEngine())
        thread.join()
        assert len(acted) == 1
        rows = read(out)
        assert sorted(row["id"] for row in rows) == list(range(420))
        np.testing.assert_allclose(columns(rows), expected, **SAME)
        assert not list(tmp_path.rglob("*.part"))
    limit = time.monotonic() + 60  # the run may be over before the cluster has counted its nodes
    while (alive := sum(node["Alive"] for node in ray.nodes())) > 1 and time.monotonic() < limit:
        time.sleep(0.2)
    assert alive == 1


def test_a_worker_that_asks_for_more_than_there_is(cluster):
    with pytest.raises(InputError, match="asks for 1 CPUs and 2 GPUs"):
        RayEngine(gpus=2)
