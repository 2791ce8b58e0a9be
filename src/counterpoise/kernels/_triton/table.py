"""How rows are cut into programs: a plain table, by the number of atoms; no tile up to 8192 spills its registers."""

from __future__ import annotations

from typing import NamedTuple


class Launch(NamedTuple):
    """Rows and columns of a program's tile, its warps, and whether it reads its rows again in every pass."""

    rows: int
    block: int
    warps: int
    looped: bool

    @property
    def width(self) -> int:
        """Columns that the threads of a program cover at once, four each."""
        return max(1, min(self.block, 128 * self.warps // self.rows))

    @property
    def options(self) -> dict[str, int]:
        """What the compiler is told: left alone, it may spill in a loop to fit a third program on a multiprocessor."""
        return {"num_warps": self.warps, **({"maxnreg": LOOP_REGISTERS} if self.looped else {})}


TABLE = (
    # up to so many atoms: rows a program, warps; at most 32 atoms a thread
    (16, 32, 1),
    (32, 16, 1),
    (64, 8, 1),
    (128, 8, 1),
    (256, 4, 1),
    (512, 2, 1),
    (1024, 1, 1),
    (2048, 1, 2),
    (4096, 1, 4),
    (8192, 1, 8),
    (16384, 1, 16),
)
LONGEST: dict[str, int] = {}
WARPS: dict[tuple[str, int], int] = {}
LOOP = Launch(1, 2048, 8, True)
"""For rows that do not fit: the columns of a piece, which is read from cache in every pass."""
LOOP_REGISTERS = 128
"""A thread's, of 8 warps: two programs share a multiprocessor's 65536."""


def launch_for(n: int, family: str) -> Launch:
    """Return the tile for rows of n atoms, its columns a power of two."""
    for most, rows, warps in TABLE:
        if n <= most <= LONGEST.get(family, TABLE[-1][0]):
            return Launch(rows, max(2, 1 << (n - 1).bit_length()), WARPS.get((family, most), warps), False)
    return LOOP
