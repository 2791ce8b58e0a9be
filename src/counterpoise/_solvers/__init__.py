"""One scalar unknown a row: the exact solver of each family, on problems in canonical form (`_problem`)."""
