"""One fit in a process of its own: errors, processor seconds and memory, or why there are none."""

import logging
import multiprocessing
import os
import resource
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from peers import Method
from problems import Problem

Found = dict[str, Any]


def measure(method: Method, problem: Problem, alpha: float, limit: float) -> Found:
    """Return NMSE, total variation, processor seconds and MiB; or that it failed, or was not done in time."""
    return alone(lambda: _errors(method, problem, alpha), limit)


def alone(job: Callable[[], Found], limit: float) -> Found:
    """Run a job in a fork of this process, whose largest memory is the job's, for a number of seconds at most."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_work, args=(job, queue), daemon=True)
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
        return {"status": f"> {limit:.0f} s"}
    return {"status": "ok", **queue.get()} if process.exitcode == 0 else {"status": "fails"}


def _work(job: Callable[[], Found], queue: Any) -> None:
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    logging.disable(logging.CRITICAL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # a peer that fails is a word in the table, not a traceback on the way
    np.random.seed(0)  # noqa: NPY002  peers draw their centres from the global state
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = job()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    queue.put({**found, "mib": (peak - before) / 1024, "peak": peak / 1024})


def _errors(method: Method, problem: Problem, alpha: float) -> Found:
    start = time.process_time()
    found = method(problem.target, problem.train, problem.fresh)
    took = time.process_time() - start
    truth = problem.truth / (alpha * problem.truth + 1 - alpha)  # what a relative estimate is one of
    weights = np.maximum(found, 0)
    variation = float(np.abs(weights / max(weights.sum(), 1e-300) - truth / truth.sum()).sum() / 2)
    error = float(np.mean((found - truth) ** 2) / np.mean(truth**2))
    return {"nmse": error, "tv": variation, "seconds": took}
