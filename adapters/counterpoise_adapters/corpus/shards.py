"""Which files a corpus consists of, and what each becomes."""

import hashlib
import os
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from counterpoise_adapters.cli.errors import InputError
from counterpoise_adapters.cli.files import Table, file_format, open_table, reading

__all__ = [
    "Layout",
    "Shard",
    "check_apart",
    "content_hash",
    "find_shards",
    "is_corpus",
    "lay_out",
    "open_shard",
    "stamp",
]

_TARGET = "--target-file "
_MARKS = (".", "_")  # names of files that are no data: hidden ones, and those that Spark and its kin leave


@dataclass(frozen=True)
class Shard:
    """One file of a corpus.

    Parameters
    ----------
    name : str
        Its path below the corpus, which the file written for it gets too.
    path : Path
        The file.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Layout:
    """Where everything is and goes.

    Parameters
    ----------
    shards : tuple of Shard
        The corpus, by name.
    target : tuple of Shard
        Files of target samples; empty where they are rows of the corpus.
    outputs : mapping of str to Path
        What each shard of the corpus becomes.
    state : Path
        Folder for what is known of an unfinished run; it ends with the run, but for the manifest.
    manifest : Path
        What was read and written, with hashes of the contents.
    """

    shards: tuple[Shard, ...]
    target: tuple[Shard, ...]
    outputs: dict[str, Path]
    state: Path
    manifest: Path


def is_corpus(data: Path) -> bool:
    """Tell whether a path names several files: a folder, or a pattern with ``*``, ``?`` or ``[...]``.

    Parameters
    ----------
    data : Path
        From the command line.
    """
    return data.is_dir() or (not data.exists() and has_magic(str(data)))


def find_shards(data: Path) -> tuple[Shard, ...]:
    """Return the files of a corpus, by name.

    Parameters
    ----------
    data : Path
        A folder (searched through all levels; names that begin with a dot or an underscore are passed over, as are
        files that hold no rows by their ending), a pattern, or one file. No file, or files of two formats, raise
        `InputError`.
    """
    if data.is_dir():
        root = data
        inside = (path.relative_to(data) for path in data.rglob("*") if path.is_file())
        found = [data / path for path in inside if not any(part.startswith(_MARKS) for part in path.parts)]
        found = [path for path in found if _is_data(path)]
    elif not data.exists() and has_magic(str(data)):
        parts = data.parts
        fixed = next(place for place, part in enumerate(parts) if has_magic(part))
        root = Path(*parts[:fixed])
        found = [Path(name) for name in glob(str(data), recursive=True) if Path(name).is_file()]
    else:
        root, found = data.parent, [data]
    if not found:
        raise InputError("no JSONL, CSV, TSV or Parquet file is there", path=data)
    shards = sorted((Shard(path.relative_to(root).as_posix(), path) for path in found), key=lambda shard: shard.name)
    kinds = sorted({file_format(shard.path) for shard in shards})
    if len(kinds) > 1:
        raise InputError(f"holds files of several formats ({', '.join(kinds)}); choose one by a pattern", path=data)
    return tuple(shards)


def lay_out(data: Path, out: Path, target_file: Path | None) -> Layout:
    """Find the files and say what each becomes.

    Parameters
    ----------
    data, out : Path
        The corpus, and the folder to write; for a single file, the file to write.
    target_file : Path, optional
        Target samples: a file, a folder or a pattern.
    """
    shards = find_shards(data)
    found = find_shards(target_file) if target_file is not None else ()
    target = tuple(Shard(f"{_TARGET}{shard.name}", shard.path) for shard in found)  # not to be taken for the corpus's
    if not is_corpus(data):
        state = out.with_name(f"_{out.name}.counterpoise")
        return Layout(shards, target, {shards[0].name: out}, state, state / "manifest.json")
    state = out / "_counterpoise"
    return Layout(shards, target, {s.name: out / s.name for s in shards}, state, state / "manifest.json")


def open_shard(shard: Shard) -> Table | None:
    """Open a shard; None for a text file of no bytes, which holds no rows.

    Parameters
    ----------
    shard : Shard
        An unreadable one raises `InputError`.
    """
    with reading(shard.path):
        if shard.path.is_file() and shard.path.stat().st_size == 0 and file_format(shard.path) != "parquet":
            return None
    return open_table(shard.path)


def content_hash(path: Path) -> str:
    """Return a hash of a file's bytes.

    Parameters
    ----------
    path : Path
        A file that cannot be read raises `InputError`.
    """
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


def stamp(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written: inode, size and time of the last change, in nanoseconds.

    Parameters
    ----------
    path : Path
        A file that cannot be looked at raises `InputError`.
    """
    with reading(path):
        state = path.stat()
    return state.st_ino, state.st_size, state.st_mtime_ns


def check_apart(layout: Layout, data: Path, out: Path) -> None:
    """Refuse an output folder that is, holds or lies in the corpus.

    Parameters
    ----------
    layout : Layout
        Of the run.
    data, out : Path
        From the command line.
    """
    inputs = {os.path.realpath(shard.path) for shard in (*layout.shards, *layout.target)}
    if any(os.path.realpath(path) in inputs for path in layout.outputs.values()):
        raise InputError("holds input files, which are never written to; name another output", path=out)
    if is_corpus(data) and out.exists() and not out.is_dir():
        raise InputError("several files are weighed into a folder, and this is a file; name another output", path=out)
    root = os.path.realpath(data)
    if data.is_dir() and os.path.commonpath([root, os.path.realpath(out)]) == root:
        raise InputError(f"lies in the corpus {data}, which would read it next time; name another output", path=out)


def _is_data(path: Path) -> bool:
    try:
        file_format(path)
    except InputError:
        return False
    return True
