"""What the pages show runs: blocks in order, each page in one namespace and folder, outputs as printed."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")
WRITTEN = {"auto_gallery"}  # by the build
DATA = Path(os.environ.get("COUNTERPOISE_DATA", ROOT.parent / "shared" / "data"))


def in_python(code, names, where):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, where, "exec"), names)
    return printed.getvalue()


def in_shell(code):
    """Run the program as a reader would; None if it needs a file of real data that is not here."""
    source = Path(shlex.split(code)[2])
    if not source.exists():
        if not DATA.is_dir():
            return None
        source.symlink_to(DATA / source)
    env = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = subprocess.run(["bash", "-ec", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def same_but_for_digits(ours, theirs):
    """Fits of a model differ in their last digits between processors, and tables are padded."""
    number = re.compile(r"(?<![\w.])[+-]?\d[\d,]*\.?\d*")
    values = [[float(v.replace(",", "")) for v in number.findall(text)] for text in (ours, theirs)]
    words = [number.sub("#", text).split() for text in (ours, theirs)]
    return words[0] == words[1] and values[0] == pytest.approx(values[1], rel=0.05, abs=0.02)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run_and_print_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, left_out = {"__name__": "page"}, []
    for number, (language, code, output) in enumerate(BLOCK.findall(page.read_text()), start=1):
        if language == "python":
            printed = in_python(code, names, f"{page.name}, block {number}")
            assert not output or printed == output
        elif code.startswith("counterpoise "):  # anything else sets something up
            printed = in_shell(code)
            assert not output or printed is None or same_but_for_digits(printed, output)
            left_out += [code.splitlines()[0]] * (printed is None)
    if left_out:
        pytest.skip(f"no real data at {DATA} for {'; '.join(left_out)}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists() or WRITTEN & set(Path(target).parts), target


def test_pages_hold_blocks():
    assert sum(len(BLOCK.findall(page.read_text())) for page in PAGES) >= 4
