"""A run under way: what is known of it, and a stage over all shards."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import counterpoise
from counterpoise_adapters.cli.errors import InputError, OutputError
from counterpoise_adapters.cli.options import WeighOptions
from counterpoise_adapters.cli.progress import console, steps

from .engine import Engine
from .journal import Journal
from .shards import Layout, Shard
from .spec import Spec

__all__ = ["Run", "SetAsideError", "heading"]


class SetAsideError(Exception):
    """A shard was set aside after rows of it were counted: the stages begin again without it."""


@dataclass
class Run:
    """A run: where its files are, and what is known so far.

    Parameters
    ----------
    options : WeighOptions
        From the command line.
    spec : Spec
        What decides the weights.
    layout : Layout
        Of the files.
    engine : Engine
        Where to work.
    journal : Journal
        What is done.
    set_aside : dict of str to str
        Shards that could not be read, and why.
    """

    options: WeighOptions
    spec: Spec
    layout: Layout
    engine: Engine
    journal: Journal
    set_aside: dict[str, str] = field(default_factory=dict)

    def files(self, stage: str, ending: str, shards: Sequence[Shard]) -> dict[str, Path]:
        """Return where a stage keeps what it knows of each shard; by number, so that no name is too long."""
        rank = {shard.name: number for number, shard in enumerate((*self.layout.shards, *self.layout.target))}
        return {shard.name: self.layout.state / stage / f"{rank[shard.name]:06d}.{ending}" for shard in shards}

    def each(
        self, what: str, stage: str, job: Callable[[Shard], Any], shards: Sequence[Shard], *, basis: str,
        featurises: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """Do a job on every shard that the journal does not know to be done; return the values of all."""
        done = {} if stage in ("scan", "write") else self.journal.done(stage, basis)
        values = {shard.name: done[shard.name] for shard in shards if shard.name in done}
        left = [shard for shard in shards if shard.name not in values]
        lost = False
        with steps(what, len(shards)) as advance:
            for _ in values:
                advance()
            for outcome in self.engine.run(job, left, featurises=featurises):
                advance()
                if outcome.fatal:
                    raise OutputError(outcome.error)
                if outcome.error:
                    self._put_aside(outcome.name, outcome.error, shards)
                    lost = True
                    continue
                values[outcome.name] = outcome.value
                self.journal.note(stage, basis, outcome.name, outcome.value)
        if lost and stage != "scan":
            raise SetAsideError
        return values

    def left(self, shards: Sequence[Shard]) -> list[Shard]:
        """Return the shards that were not set aside."""
        return [shard for shard in shards if shard.name not in self.set_aside]

    def _put_aside(self, name: str, error: str, shards: Sequence[Shard]) -> None:
        path = next(shard.path for shard in shards if shard.name == name)
        message = error if str(path) in error else f"{path}: {error}"
        if self.options.on_error == "stop":
            several = len(self.layout.shards) + len(self.layout.target) > 1
            hint = " (shards done so far are kept; --on-error skip sets such a shard aside)" if several else ""
            raise InputError(message + hint)
        self.set_aside[name] = message
        console.print(f"set aside: {message}", markup=False, highlight=False)


def heading(spec: Spec, layout: Layout) -> dict[str, Any]:
    """Return all that decides the weights, besides the contents of the shards.

    Parameters
    ----------
    spec, layout
        As in `Run`.
    """
    return {
        "counterpoise": counterpoise.__version__, **asdict(spec), "shards": [shard.name for shard in layout.shards],
        "target_shards": [shard.name for shard in layout.target],
    }  # fmt: skip
