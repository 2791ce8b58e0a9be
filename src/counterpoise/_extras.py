"""What a package that is missing is called in the extras of this one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager


class MissingPackage(ModuleNotFoundError):
    """A package is missing that an extra would have brought."""


@contextmanager
def extra(name: str, what: str, otherwise: str = "", *, packages: Collection[str] | None = None) -> Iterator[None]:
    """Say which extra to install where an import inside the ``with`` statement finds a package missing.

    Parameters
    ----------
    name : str
        The extra, as in ``pip install 'counterpoise[name]'``.
    what : str
        What needs it, the start of a sentence.
    otherwise : str, optional
        What to do instead, its end.
    packages : collection of str, optional
        All that the extra brings, where code runs that may miss others.

    Raises
    ------
    MissingPackage
        In the place of the bare error, or of one of an adapter that this one builds on. Modules of this package that
        are missing are bugs, and pass.

    Examples
    --------
    >>> with extra("torch", "counterpoise.kernels"):
    ...     import no_such_package
    Traceback (most recent call last):
        ...
    counterpoise._extras.MissingPackage: counterpoise.kernels needs the package 'no_such_package': pip install
        'counterpoise[torch]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        own = package in {"", "counterpoise", "counterpoise_adapters"}
        if own or (packages is not None and package not in packages):
            raise
        text = f"{what} needs the package '{package}': pip install 'counterpoise[{name}]'{otherwise}"
        raise MissingPackage(text, name=error.name, path=error.path) from error
