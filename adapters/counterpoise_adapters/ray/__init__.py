"""Weigh a corpus on a Ray cluster: `weigh` takes a Ray Dataset, ``counterpoise weigh --engine ray`` takes files."""

from typing import TYPE_CHECKING, Any

from counterpoise._extras import extra

if TYPE_CHECKING:
    from .dataset import weigh

__all__ = ["weigh"]


def __getattr__(name: str) -> Any:
    """Load Ray Data, which takes seconds, where it is asked for: the command line and its workers do without."""
    if name == "weigh":
        with extra("ray", f"{__name__}.weigh"):
            from .dataset import weigh

        return weigh
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
