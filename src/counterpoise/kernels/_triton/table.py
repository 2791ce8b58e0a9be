"""How rows are cut into programs: a plain table, by the number of atoms; no tile up to 8192 spills its registers."""

from __future__ import annotations

from typing import NamedTuple


class Launch(NamedTuple):
    """Rows and columns of a program's tile, its warps, and whether it reads its rows again in every pass."""

    rows: int
    block: int
    warps: int
    looped: bool
    registers: int = 0
    """A thread's at most, of scores alone; 0 leaves it to the compiler."""

    @property
    def width(self) -> int:
        """Columns that the threads of a program cover at once, four each."""
        return max(1, min(self.block, 128 * self.warps // self.rows))

    def options(self, loaded: bool = True) -> dict[str, int]:
        """Tell the compiler: with more than scores to load it may, left alone, spill to fit another program in."""
        if self.looped:
            return {"num_warps": self.warps, "maxnreg": LOOP_REGISTERS}
        most = min(255, 2048 // self.warps) if loaded else self.registers
        return {"num_warps": self.warps, **({"maxnreg": most} if most else {})}


ATOMS = {
    "project_simplex": 32, "project_ball": 32, "project_capped_simplex": 32, "entmax": 32, "chi_square_ball": 32,
    "chi_square_penalty": 32, "kl_penalty": 32, "kl_ball": 32, "power_penalty": 32, "cvar": 32, "logarithms": 8,
}  # fmt: skip
"""Atoms of a thread, by the registers that the family's arithmetic leaves; twice as many where 16 warps do not suffice.

The fewer there are the more of a step is what it costs whatever it sums, and the more warps wait for each other.
"""
PLAIN = {sort: 64 for sort, atoms in ATOMS.items() if atoms == 32}
"""The same, forward, of rows longer than a warp's atoms where nothing but scores is loaded.

KL spills there, up to 240 bytes a thread, and was faster for it all the same when it spilled 300: 78 against 64 % of a
copy at 2048 atoms.
"""
PAIRED = ("project_simplex", "project_capped_simplex", "entmax", "project_ball", "chi_square_ball", "cvar")
"""Families of which two programs of 16384 atoms share a multiprocessor's 65536 registers, 128 a thread of 8 warps: one
reads while the other computes. For that up to 128 bytes a thread spill; of the others, too many would."""
LONGEST = {"logarithms": 4096}
"""Rows beyond are read again in every pass; 16384 for the others."""
LOOP = Launch(1, 2048, 8, True)
"""For rows that do not fit: the columns of a piece, which is read from cache in every pass."""
LOOP_REGISTERS = 128
"""A thread's, of 8 warps: two programs share a multiprocessor's 65536."""


def sort_of(family: str, exponent: float) -> str:
    """Return a family's name in the table: the powers that take a logarithm of every atom are one."""
    takes_logs = family in ("power_penalty", "entmax") and exponent not in (1.5, 2)
    return "logarithms" if takes_logs else family


def launch_for(n: int, sort: str, plain: bool = False) -> Launch:
    """Return the tile for rows of n atoms, its columns a power of two: one warp up to 32 times a thread's atoms.

    ``plain`` is for rows of scores alone.
    """
    if n > LONGEST.get(sort, 16384):
        return LOOP
    block = max(2, 1 << (n - 1).bit_length())
    warp = 32 * ATOMS[sort]
    if plain and block > warp:
        warp = 32 * PLAIN.get(sort, ATOMS[sort])
    warps = max(1, min(16, block // warp))
    registers = 128 if plain and warps == 8 and sort in PAIRED else 0
    return Launch(max(1, min(32, warp // block)), block, warps, False, registers)
