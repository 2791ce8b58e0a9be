"""Results kept on disk, one file per unit of work, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["cached"]

FOLDER = Path(__file__).parent / ".cache"


def cached(
    name: str, modules: tuple[str, ...], compute: Callable[[], dict[str, Any]], **settings: Any
) -> dict[str, Any]:
    """Return the stored result, or compute and store it.

    Parameters
    ----------
    name : str
        Of the unit.
    modules : tuple of str
        Modules of this package that the result depends on: an edit of theirs makes it stale.
    compute : callable
        Returns something that JSON holds.
    **settings
        What else it depends on.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for module in sorted(modules):
        file = importlib.import_module(f"{__package__}.{module}").__file__
        assert file is not None
        digest.update(Path(file).read_bytes())
    path = FOLDER / f"{name.replace(' ', '-').replace('/', '_')}-{digest.hexdigest()[:12]}.json"
    if path.exists():
        return json.loads(path.read_text())
    found = compute()
    FOLDER.mkdir(exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    unfinished.write_text(json.dumps(found))
    os.replace(unfinished, path)
    return found
