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
    def options(self) -> dict[str, int]:
        """What the compiler is told: left alone, it may spill in a loop to fit a third program on a multiprocessor."""
        return {"num_warps": self.warps, **({"maxnreg": LOOP_REGISTERS} if self.looped else {})}


TABLE = (
    # up to so many atoms: rows a program, warps
    (16, 32, 4),
    (32, 16, 4),
    (64, 16, 4),
    (128, 8, 4),
    (256, 4, 4),
    (512, 2, 4),
    (1024, 1, 4),
    (2048, 1, 4),
    (4096, 1, 8),
    (8192, 1, 16),
    (16384, 1, 32),
)
LONGEST = {
    # families whose tile keeps too much alive beyond; the others go to the end of the table, where a thread has 64
    # registers and all of them spill a little with prior and mask: a loop would read the row ten times
    "chi_square_penalty": 8192,
    "kl_penalty": 4096,
    "power_penalty": 4096,
    "entmax": 4096,
    "project_capped_simplex": 4096,
}
WARPS = {
    ("chi_square_penalty", 8192): 32, ("project_simplex", 8192): 32, ("cvar", 8192): 32,
    ("power_penalty", 4096): 16, ("project_ball", 4096): 16, ("project_ball", 2048): 8,
    ("project_ball", 32): 8, ("entmax", 128): 8, ("power_penalty", 16): 8, ("kl_ball", 256): 8,
    ("chi_square_ball", 512): 8, ("project_simplex", 128): 8,
}  # fmt: skip
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
