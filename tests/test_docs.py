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
    for word in shlex.split(code):
        if re.fullmatch(r"[\w-]+\.(jsonl|csv)\.gz", word) and (DATA / word).exists() and not Path(word).exists():
            Path(word).symlink_to(DATA / word)
    if not Path(shlex.split(code)[2]).exists():
        return None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-ec", code], capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stderr
    return re.sub(r" +$", "", done.stdout, flags=re.MULTILINE)  # tables are padded


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run_and_print_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names, left_out = {"__name__": "page"}, []
    for number, (language, code, output) in enumerate(BLOCK.findall(page.read_text()), start=1):
        if language == "python":
            printed = in_python(code, names, f"{page.name}, block {number}")
        elif not code.startswith("counterpoise "):
            continue  # sets something up
        elif (printed := in_shell(code)) is None:
            left_out.append(code.splitlines()[0])
            continue
        if output:
            assert printed == output
    if left_out:
        pytest.skip(f"no real data at {DATA} for {'; '.join(left_out)}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists() or WRITTEN & set(Path(target).parts), target


def test_pages_hold_blocks():
    assert sum(len(BLOCK.findall(page.read_text())) for page in PAGES) >= 4
