"""What shards report adds up: in any split and any order it says what the rows together say."""

import random

import numpy as np
import pytest
from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.corpus.findings import summary_of
from counterpoise_adapters.corpus.sample import choose, digests, merge_sketches, priorities, quotas, sketch_of
from counterpoise_adapters.corpus.strata import MOST_SOURCES, Strata
from counterpoise_adapters.corpus.tally import CAPS, Extreme, Tally, add, extremes, tally_of
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.diagnostics import effective_sample_size, normalisation, two_sample_auc

few = st.lists(st.integers(0, 40), max_size=60)


def parts_of(rows, seed, size):
    """Split rows into some shards, a few of them empty, in some order."""
    generator = random.Random(seed)
    order = generator.sample(range(len(rows)), len(rows))
    cuts = sorted(generator.choices(range(len(rows) + 1), k=size - 1))
    return [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]


@given(st.lists(st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.0, 5e-324]), min_size=3, max_size=3), max_size=20))
def test_rows_share_a_digest_if_they_are_equal_and_else_do_not(rows):
    matrix = np.asarray(rows, dtype=np.float64).reshape(-1, 3)
    found = digests(matrix).tolist()
    assert found == [int(digests(row[None])[0]) for row in matrix]  # whatever rows it stands with
    for one, first in zip(matrix, found, strict=True):
        for two, second in zip(matrix, found, strict=True):
            assert (one.tobytes() == two.tobytes()) == (first == second)


def test_digests_of_close_rows_are_uniform():
    matrix = np.asarray(np.random.default_rng(0).integers(0, 3, (200_000, 40)), dtype=np.float32)
    matrix += np.float32(1e-6) * np.arange(40, dtype=np.float32)
    found = digests(matrix.astype(np.float64))
    assert len(np.unique(found)) == len(np.unique(matrix, axis=0))
    for shift in (0, 20, 48):
        counts = np.bincount((found >> np.uint64(shift)).astype(np.int64) & 15, minlength=16)
        assert (np.abs(counts - 12_500) < 5 * np.sqrt(12_500)).all()


@given(few, st.integers(1, 50), st.integers(0, 99), st.integers(1, 7))
def test_a_sketch_of_parts_is_the_sketch_of_the_whole(rows, most, seed, shards):
    values = np.asarray(rows, dtype=np.uint64)
    whole = sketch_of(values, most=most)
    merged = sketch_of(values[:0], most=most)
    for part in parts_of(rows, seed, shards):
        merged = merge_sketches(merged, sketch_of(values[part], most=most), most=most)
    kept, count = np.unique(values, return_counts=True)  # the definition
    for found in (whole, merged):
        assert found.rows == len(rows)
        assert found.priority.tolist() == kept[:most].tolist()
        assert found.times.tolist() == count[:most].tolist()


@given(st.lists(st.integers(0, 500), min_size=2, max_size=8), st.integers(100, 400))
def test_a_draw_meets_its_quota_where_rows_are_distinct(counts, most):
    counts[0] += 1
    counts[1] += 1
    rows = [priorities(np.arange(n, dtype=np.uint64) + 1000 * k, np.zeros(n, np.uint64), seed=k)
            for k, n in enumerate(counts)]  # fmt: skip
    draws = choose({k: sketch_of(row, most=most) for k, row in enumerate(rows)}, most=most)
    assert [int(draws[k].holds(row).sum()) for k, row in enumerate(rows)] == quotas(counts, most=most)


def test_a_text_that_is_repeated_without_end_does_not_fill_the_draw():
    distinct = priorities(np.arange(10_000, dtype=np.uint64), np.zeros(10_000, np.uint64), seed=0)
    rows = np.concatenate([distinct, np.zeros(90_000, dtype=np.uint64)])  # the least priority there is, ninefold
    draw = choose({0: sketch_of(distinct, most=2000), 1: sketch_of(rows, most=2000)}, most=2000)[1]
    assert draw.copies == 10
    assert int(draw.holds(distinct).sum()) == 1000 - 10


def test_priorities_are_uniform_and_each_seed_draws_anew():
    content = np.arange(20_000, dtype=np.uint64)
    least = []
    for seed in (0, 1):
        priority = priorities(content, content, seed=seed)
        counts = np.bincount((priority >> np.uint64(60)).astype(np.int64), minlength=16)
        assert (np.abs(counts - 1250) < 5 * np.sqrt(1250)).all()
        least.append(set(np.argsort(priority)[:2000].tolist()))
    assert abs(len(least[0] & least[1]) - 200) < 5 * np.sqrt(200)  # a tenth of a tenth, as of independent draws


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30)), min_size=1, max_size=60), st.integers(0, 99),
       st.booleans())  # fmt: skip
def test_strata_add_up_also_where_sources_are_pooled(rows, seed, pooled):
    names = np.asarray([f"s{a:02}" for a, _ in rows])
    values = np.asarray([b for _, b in rows], dtype=np.uint64)
    found = []
    for shards in (1, 4):
        strata = Strata.empty(pooled=pooled)
        for part in parts_of(rows, seed, shards):
            labels, code = np.unique(names[part], return_inverse=True)
            one = Strata.empty(pooled=pooled).with_rows(labels.tolist(), code, values[part], target=["s00"], most=5)
            strata = strata.merged(one, target=["s00"], most=5)
        found.append(strata)
    first, second = found
    assert first.counts == second.counts
    others = sorted(set(names.tolist()) - {"s00"})
    assert second.pooled == (pooled or len(others) > MOST_SOURCES)
    place = {name: 1 if second.pooled else 1 + k for k, name in enumerate(others)} | {"s00": 0}
    for strata in found:
        for k, sketch in strata.by_source(place, most=5).items():
            mine = values[[place[name] == k for name in names.tolist()]]
            assert [sketch.rows, sketch.priority.tolist(), sketch.times.tolist()] == [
                part.tolist() if hasattr(part, "tolist") else part for part in sketch_of(mine, most=5)
            ]


def test_a_column_of_free_text_is_no_column_of_sources():
    labels = [str(k) for k in range(10_001)]
    code = np.arange(10_001)
    with pytest.raises(InputError, match="more than 10,000 values"):
        Strata.empty(pooled=False).with_rows(labels, code, code.astype(np.uint64), target=["0"], most=5)


def weighed(n=5000, seed=0):
    generator = np.random.default_rng(seed)
    source = generator.integers(0, 3, n)
    log_odds = generator.normal(size=n) + (source == 0)
    return np.exp(0.7 * log_odds - 0.5), log_odds, source


@pytest.mark.parametrize("cap", [None, 1.5])
def test_a_tally_says_what_the_rows_say(cap, tmp_path):
    ratio, log_odds, source = weighed()
    whole = None
    for part in parts_of(ratio.tolist(), 3, 6):
        one = tally_of(ratio[part], log_odds[part], source[part], sources=3, cap=cap, target_inside=True)
        np.savez(tmp_path / "tally.npz", **one.save())
        one = Tally.load(tmp_path / "tally.npz")
        whole = one if whole is None else add(whole, one)
    summary = summary_of(whole, whole.scores, "abc", n_target=int((source == 0).sum()), target_inside=True, cap=cap)
    capped = ratio if cap is None else np.minimum(ratio, cap)
    mean = normalisation(ratio)
    assert summary.rows == len(ratio)
    assert (summary.mean_ratio, summary.mean_error) == pytest.approx([float(v) for v in mean], rel=1e-9)
    assert summary.ess == pytest.approx(float(effective_sample_size(capped)), rel=1e-9)
    assert summary.uncapped_size == pytest.approx(float(effective_sample_size(ratio)), rel=1e-9)
    for limit in CAPS:
        assert summary.sizes[limit] == pytest.approx(float(effective_sample_size(np.minimum(ratio, limit))), rel=1e-9)
    assert summary.largest == pytest.approx(capped.max() / capped.mean(), rel=1e-12)
    top = np.sort(capped)[-len(ratio) // 100 :].sum() / capped.sum()
    assert summary.top_share == pytest.approx(top, rel=0.012)  # the bins are 1.1 % wide
    auc = two_sample_auc(log_odds[source == 0], log_odds[source != 0])
    # Pairs within 1/128 nat of each other count as ties.
    assert (summary.auc, summary.auc_error) == pytest.approx([float(v) for v in auc], abs=1e-4)
    assert sum(summary.bin_size) == len(ratio)
    assert float(np.dot(summary.observed, summary.bin_size)) == pytest.approx((source == 0).sum())
    for line in summary.sources:
        mine = source == "abc".index(line.name)
        assert (line.rows, line.weight_share) == (mine.sum(), pytest.approx(capped[mine].sum() / capped.sum()))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12)), min_size=1, max_size=50), st.integers(0, 99))
def test_the_rows_shown_do_not_depend_on_the_order(rows, seed):
    items = [Extreme(float(a), b, f"s{k % 3}", k, 0, ()) for k, (a, b) in enumerate(rows)]
    for largest in (True, False):
        whole = extremes(items, largest=largest)
        merged = ()
        for part in parts_of(rows, seed, 4):
            merged = extremes([*merged, *extremes([items[i] for i in part], largest=largest)], largest=largest)
        assert merged == whole
        assert len({row.key for row in whole}) == len(whole) == min(8, len({row.key for row in items}))
