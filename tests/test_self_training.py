"""The example of three self-training rounds runs, says the same twice, and prints what the page shows."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_three_rounds_of_self_training():
    command = [sys.executable, str(ROOT / "docs" / "examples" / "self_training.py")]
    first, again = (subprocess.run(command, capture_output=True, text=True, timeout=120) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    head, *rounds = (line.split("  ") for line in first.stdout.splitlines())
    names = [name.strip() for name in head if name.strip()]
    rows = [dict(zip(names, [cell.strip() for cell in row if cell.strip()], strict=True)) for row in rounds]
    assert [row["pairs"] for row in rows] == ["320", "620", "920"]
    assert float(rows[0]["left out"]) == 0.0 < float(rows[-1]["left out"]) < 0.5  # today's policy wrote the first pairs
    for row in rows:
        assert float(row["weighted"]) > float(row["plain"]) + 0.015 and float(row["effective"]) < int(row["pairs"])
    page = (ROOT / "docs" / "explanation" / "limits.md").read_text()
    assert all(line in page for line in first.stdout.splitlines())
