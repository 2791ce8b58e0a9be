"""Processor seconds and memory of whole fits, grids searched, at sizes where peers give up."""

import importlib.util
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from measure import Found, alone
from peers import WIDTHS

import counterpoise as cp

Job = Callable[[], Found]
GRID = tuple(10 ** np.linspace(-3, 1, 9))
"""densratio's own nine penalties, for both; it searches as many bandwidths as ours, and for KLIEP the same ones."""


def rows(limit: float) -> list[dict[str, Any]]:
    """Time every job, each in a process of its own; at 2,000 rows three times, ours and the peer's in turn."""
    jobs = [*_pairs("uLSIF", 2000) * 3, *_pairs("uLSIF", 20_000), *_pairs("KLIEP", 20_000), *_million()]
    return [{"job": job, "who": who, **alone(run, limit)} for job, who, run in jobs]


def table(found: list[dict[str, Any]]) -> str:
    """Return medians as Markdown, each peer's time against ours of the same job."""
    lines = ["| fit | by | s | of ours | gap, nats | peak MiB |", "|---" * 6 + "|"]
    ours: dict[str, float] = {}
    for job, who in dict.fromkeys((row["job"], row["who"]) for row in found):
        same = [row for row in found if (row["job"], row["who"]) == (job, who)]
        if any(row["status"] != "ok" for row in same):
            lines.append(f"| {job} | {who} | {same[-1]['status']} | | | |")
            continue
        seconds, peak = (float(np.median([row[key] for row in same])) for key in ("seconds", "peak"))
        first = ours.setdefault(job, seconds)
        gap = f"{same[0]['gap']:.0e}" if "gap" in same[0] else ""
        lines.append(f"| {job} | {who} | {seconds:.2f} | {seconds / first:.1f} | {gap} | {peak:.0f} |")
    return "\n".join(lines)


def _pairs(kind: str, n: int) -> list[tuple[str, str, Job]]:
    generator = np.random.default_rng(n)
    means = 1.5 * np.random.default_rng(1).normal(size=(4, 5))
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    target, train = (means[generator.choice(4, n, p=p)] + generator.normal(size=(n, 5)) for p in (shares, shares[::-1]))
    if kind == "uLSIF":
        fit, of_peer = partial(cp.fit_ulsif, penalty=GRID), {}
    else:
        widths = float(cp.gaussian_features(target=target, train=train).bandwidth) * np.array(WIDTHS)
        fit, of_peer = cp.fit_kliep, {"sigma": widths}
    name = f"{kind}, {n:,} × 5, its grid"
    jobs = [(name, "counterpoise", lambda: _timed(lambda: fit(target=target, train=train)))]
    if importlib.util.find_spec("densratio") is not None:
        from densratio import densratio

        peer = partial(densratio, target, train, method=kind, verbose=False, **of_peer)
        jobs.append((name, "densratio", lambda: _timed(peer)))
    return jobs


def _million() -> list[tuple[str, str, Job]]:
    generator = np.random.default_rng(6)
    target, train = generator.normal(0.2, 1, (10**6, 10)), generator.normal(0, 1, (10**6, 10))
    fits: dict[str, Callable[..., cp.Ratio]] = {
        "uLSIF": cp.fit_ulsif, "KLIEP": cp.fit_kliep, "logistic": cp.fit_logistic,
    }  # fmt: skip

    def job(fit: Callable[..., cp.Ratio]) -> Job:
        return lambda: _timed(lambda: fit(target=target, train=train))

    return [(f"{name}, 1,000,000 × 10, its grid", "counterpoise", job(fit)) for name, fit in fits.items()]


def _timed(fit: Callable[[], Any]) -> Found:
    start = time.process_time()
    model = fit()
    took = time.process_time() - start
    certified = isinstance(model, cp.Ratio) and model.method == "kliep"
    return {"seconds": took, **({"gap": float(model.gap)} if certified else {})}
