"""What a run has done so far, on disk after every shard, so that a run that was stopped goes on where it was."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.staging import Staging, writing

__all__ = ["Journal", "basis_of"]


class Journal:
    """Lines of JSON, the first of which says what is being done; each later one that something was done to a shard.

    Parameters
    ----------
    path : Path
        The file. One that exists, whose first line is not the same and which notes that something was done, raises
        `InputError`; a last line that was cut short is passed over.
    heading : dict
        All that decides the weights, besides the contents of the shards.
    """

    def __init__(self, path: Path, heading: dict[str, Any]) -> None:
        self._path = path
        self._done: dict[tuple[str, str, str], Any] = {}
        heading = dict(json.loads(json.dumps(heading)))
        lines = _lines(path)
        if len(lines) == 1:
            lines = []  # nothing was done, so there is nothing to go on with
        if lines and lines[0] != heading:
            changed = sorted(key for key in {*lines[0], *heading} if lines[0].get(key) != heading.get(key))
            raise InputError(
                f"holds an unfinished run that differs in {', '.join(changed)}; finish it as it was begun, or begin "
                "anew with --force",
                path=path.parent,
            )
        for line in lines[1:]:
            self._done[line["stage"], line["basis"], line["shard"]] = line["value"]
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written anew: what follows must not be appended to half a line.
            with Staging() as staging:
                staging.open(path).write("".join(json.dumps(line) + "\n" for line in lines or [heading]).encode())
            self._file = path.open("a", encoding="utf-8")

    def note(self, stage: str, basis: str, shard: str, value: Any) -> None:
        """Write that a stage is done with a shard.

        Parameters
        ----------
        stage, basis, shard : str
            What was done, on which state of the corpus, to which shard.
        value : object
            What is known since, as JSON takes it.
        """
        self._done[stage, basis, shard] = value
        with writing(self._path):
            self._file.write(json.dumps({"stage": stage, "basis": basis, "shard": shard, "value": value}) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())

    def done(self, stage: str, basis: str) -> dict[str, Any]:
        """Return what a stage found for each shard that it is done with.

        Parameters
        ----------
        stage, basis : str
            As in `note`.
        """
        return {shard: value for (was, on, shard), value in self._done.items() if (was, on) == (stage, basis)}

    def close(self) -> None:
        """Close the file, and remove it and what lies beside it if nothing was done."""
        self._file.close()
        if not self._done:
            shutil.rmtree(self._path.parent, ignore_errors=True)


def basis_of(contents: Mapping[str, str]) -> str:
    """Return a hash of the contents of all shards.

    Parameters
    ----------
    contents : mapping of str to str
        The hash of each.
    """
    return hashlib.blake2b(json.dumps(sorted(contents.items())).encode(), digest_size=16).hexdigest()


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
