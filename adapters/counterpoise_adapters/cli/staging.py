"""Files that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from .errors import OutputError

__all__ = ["Staging", "writing"]


class Staging:
    """Write several files so that they all appear, complete, or none does.

    Each is written under a temporary name in the folder of its destination.  When the block ends without
    an exception all are flushed to the disk and then renamed; otherwise all are removed, and what stood at
    the destinations stays.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with Staging() as staging:
    ...     _ = staging.open(folder / "a.txt").write(b"whole")
    ...     print(sorted(path.name for path in folder.glob("a.txt")))
    []
    >>> (folder / "a.txt").read_bytes()
    b'whole'
    """

    def __init__(self) -> None:
        self._files: list[tuple[BinaryIO, Path, Path]] = []

    def open(self, path: Path) -> BinaryIO:
        """Return a binary file that will become ``path``.

        Parameters
        ----------
        path : Path
            Destination; its folder must exist.
        """
        with writing(path):
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        file = cast(BinaryIO, os.fdopen(handle, "wb"))
        self._files.append((file, Path(name), path))
        return file

    def __enter__(self) -> "Staging":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for file, temporary, path in self._files:
                    with writing(path):
                        file.flush()
                        os.fsync(file.fileno())
                        file.close()
                        temporary.chmod(0o666 & ~_umask())
                for _, temporary, path in self._files:
                    with writing(path):
                        temporary.replace(path)
        finally:
            for file, temporary, _ in self._files:
                _discard(file, temporary)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a file is written (a full disk) into an `OutputError` that names it.

    Parameters
    ----------
    path : Path
        The destination.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write ({reason}); nothing was written", path=path) from error


def _discard(file: BinaryIO, temporary: Path) -> None:
    """Close and remove a temporary file; on a full disk closing fails for the reason already reported."""
    try:
        file.close()
    except OSError:
        # The buffer cannot be flushed; closing the raw file gives up the buffer, which is what is wanted
        # here.
        raw = getattr(file, "raw", None)
        if raw is not None:
            raw.close()
    temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the permission bits that new files must not have."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
