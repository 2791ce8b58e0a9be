"""How rows are cut into programs: a table, by the number of atoms; up to 8192 only tiles of scores alone may spill."""

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


ATOMS = 32
"""Atoms of a thread; twice as many where 16 warps do not suffice.

The fewer there are the more of a step is what it costs whatever it sums, and the more warps wait for each other.
"""
LOGARITHMS = 8
"""The same where a logarithm of every atom is taken."""
PLAIN = 64
"""The same, forward, of rows longer than a warp's atoms where nothing but scores is loaded."""
REGISTERS = {ATOMS: 80, PLAIN: 128}
"""A thread's at most, of scores alone: 24 warps of short rows or 16 of long ones share a multiprocessor.

More would let fewer programs in, and the memory would wait while they all compute; a few spill up to 48 bytes for it.
"""
OWN = {"cvar": {PLAIN: 104}, "power_penalty": {ATOMS: 96}}
"""The same of families for whom another number was faster."""
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
    atoms = LOGARITHMS if sort == "logarithms" else ATOMS
    if plain and atoms == ATOMS and block > 32 * ATOMS:
        atoms = PLAIN
    warps = max(1, min(16, block // (32 * atoms)))
    registers = OWN.get(sort, {}).get(atoms, REGISTERS.get(atoms, 0)) if plain else 0
    return Launch(max(1, min(32, 32 * atoms // block)), block, warps, False, registers)
