"""Named arrays and one text in ``.npz`` or ``.safetensors``: read without trust, written whole or not at all."""

import errno
import io
import json
import math
import os
import re
import secrets
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from counterpoise._extras import extra

__all__ = ["Arrays", "pack", "read", "suffix_of", "write"]

Arrays = dict[str, NDArray[Any]]
Accept = Callable[[str], object]

SUFFIXES = (".npz", ".safetensors")
TEXT = "header"
"""Name of the text: an entry of an npz, a key of safetensors' metadata."""
MOST_TEXT = 2**22
"""Most bytes of JSON that are parsed; objects made of it take some thirty times as many."""
NPY = re.compile(
    rb"\{'descr': '(?P<dtype>\|u1|<f2|<f4|<f8|<i8)', 'fortran_order': False, 'shape': \((?P<shape>[0-9, ]*)\), \} *\n"
)
"""What numpy writes before an array; the other dtypes are known so that a message can name them."""


def suffix_of(path: Path) -> str:
    """Return which of the formats a file has by its name; any other name raises `ValueError`.

    Parameters
    ----------
    path : Path
        The file.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: the name ends in {suffix!r}; {' or '.join(SUFFIXES)} is needed")
    return suffix


def pack(suffix: str, text: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the file that holds the arrays and the text; the same ones give the same bytes.

    Parameters
    ----------
    suffix : {".npz", ".safetensors"}
        The format.
    text : str
        Anything in ASCII.
    arrays : mapping of str to array
        Contiguous numpy arrays.
    """
    if suffix == ".safetensors":
        content = bytes(_safetensors().save(dict(arrays), metadata={TEXT: text}))
        _no_longer_than_text(int.from_bytes(content[:8], "little"))
        return content
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in {TEXT: np.frombuffer(text.encode("ascii"), dtype=np.uint8), **arrays}.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, version=(1, 0), allow_pickle=False)
    _no_longer_than_text(archive.infolist()[0].file_size)
    return file.getvalue()


def read(path: Path, accept: Accept) -> tuple[str, Arrays]:
    """Read a file that anybody may have written: no object is unpickled, nothing larger than the file is allocated.

    Parameters
    ----------
    path : Path
        The file.
    accept : callable
        Called with the text before any array is read, so that a large foreign file is not; raises to refuse it.

    Returns
    -------
    str, dict of str to array
        The text, and arrays of their own memory.

    Raises
    ------
    ValueError
        Whatever is wrong with the file, with its name.
    ImportError
        ``.safetensors`` without the package.
    OSError
        A file that is missing or cannot be read.
    """
    suffix = suffix_of(path)
    if suffix == ".safetensors":
        _safetensors()
    with refusing(path):
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its other end
            raise ValueError("it is not a regular file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return (_read_npz if suffix == ".npz" else _read_safetensors)(file, size, accept)


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn everything that a damaged file sets off into a `ValueError` that names it.

    The parsers of zip, npy and JSON answer garbage with a dozen kinds of exception, some of them by accident.

    Parameters
    ----------
    path : Path
        The file.
    """
    try:
        yield
    except Exception as error:
        # a seek to a place that a damaged zip invents is EINVAL; other errors are the disk's, not the content's
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = error if isinstance(error, ValueError) else f"it is damaged ({type(error).__name__}: {error})"
        raise ValueError(f"{path} holds no ratio that can be read: {reason}") from error


def write(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Put a file in place, complete or not at all.

    Parameters
    ----------
    path : Path
        Destination; its folder must exist.
    content : bytes
        All of it.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    FileExistsError
        A file that is not to be overwritten.
    OSError
        Anything else that keeps it from being written: what stood there stays.
    """
    if not overwrite and os.path.lexists(path):
        raise _exists(path)
    if not path.parent.exists():
        raise FileNotFoundError(errno.ENOENT, "the folder does not exist", str(path.parent))
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(temporary, path)
        else:
            _place_new(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _place_new(temporary: Path, path: Path) -> None:
    """Rename, but not over a file that another process has put there meanwhile."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise _exists(path) from None
        os.replace(temporary, path)


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "exists already; pass overwrite=True to replace it", str(path))


def _read_npz(file: BinaryIO, size: int, accept: Accept) -> tuple[str, Arrays]:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
        if len(entries) != len(archive.infolist()):
            raise ValueError("two of its entries have one name")
        if any(e.compress_type != zipfile.ZIP_STORED or e.compress_size != e.file_size for e in entries.values()):
            raise ValueError("its entries are compressed; only plain ones, as save_ratio writes them, are read")
        if sum(entry.file_size for entry in entries.values()) > size:
            raise ValueError("its entries claim to be larger than the file")
        if TEXT not in entries:
            raise ValueError(f"it has no {TEXT}; it was not written by save_ratio")
        entry = entries.pop(TEXT)
        _no_longer_than_text(entry.file_size)
        text = _array(archive.read(entry))
        if text.dtype != np.uint8 or text.ndim != 1:
            raise ValueError(f"its {TEXT} has dtype {text.dtype} and shape {text.shape}; bytes in a row are needed")
        words = text.tobytes().decode("ascii")
        accept(words)
        return words, {name: _array(archive.read(entry)) for name, entry in entries.items()}


def _array(content: bytes) -> NDArray[Any]:
    """Read an npy file as `pack` writes it.

    numpy's reader would allocate what the file claims before looking for it, and evaluates a Python literal.
    """
    start = content[:10]
    end = 10 + int.from_bytes(start[8:], "little")
    claim = NPY.fullmatch(content[10:end])
    if start[:8] != b"\x93NUMPY\x01\x00" or claim is None:
        raise ValueError("an entry is no npy file of version 1.0 with real floats in the order of C")
    dtype = np.dtype(claim["dtype"].decode())
    shape = tuple(int(length) for length in claim["shape"].split(b",") if length.strip())
    if math.prod(shape) * dtype.itemsize != len(content) - end:
        raise ValueError(f"an array claims shape {shape}, dtype {dtype}, but has {len(content) - end} bytes")
    return np.frombuffer(content, dtype=dtype, offset=end).reshape(shape).copy()


def _read_safetensors(file: BinaryIO, size: int, accept: Accept) -> tuple[str, Arrays]:
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise ValueError("its safetensors header claims to be larger than the file")
    _no_longer_than_text(length)
    table = file.read(length)
    known = json.loads(table.decode("utf-8"))
    metadata = known.get("__metadata__") if isinstance(known, dict) else None
    if not isinstance(metadata, dict) or not isinstance(text := metadata.get(TEXT), str):
        raise ValueError(f"its metadata have no {TEXT}; it was not written by save_ratio")
    accept(text)
    return text, {name: np.array(array) for name, array in _safetensors().load(start + table + file.read(size)).items()}


def _no_longer_than_text(length: int) -> None:
    if length > MOST_TEXT:
        raise ValueError(f"its header takes {length} bytes; {MOST_TEXT} at most can be read")


def _safetensors() -> Any:
    with extra("safetensors", "a file in .safetensors", ", or use .npz"):
        import safetensors.numpy
    return safetensors.numpy
