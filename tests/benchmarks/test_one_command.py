"""``python -m benchmarks`` runs what the pages quote."""

import re
import subprocess
import sys

import pytest

from benchmarks.__main__ import COMMANDS, ROOT, main

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "benchmarks").rglob("*.md"))]
QUOTED = re.compile(r"python ((?:-m benchmarks\.[\w.]+|benchmarks/[\w/]+\.py)[^`>\n]*)")
PLACES = ("--out", "--fast-dro")  # of files on the reader's machine


def _script(arguments: str) -> str:
    return " ".join(arguments.split()[: 2 if arguments.startswith("-m ") else 1])


def _options(arguments: str) -> set[str]:
    options = {part.strip() for part in re.findall(r"--[\w-]+[^-]*", arguments)}
    return {option for option in options if not option.startswith(PLACES)}


def test_it_runs_every_benchmark_that_a_page_quotes_with_its_options():
    quoted = {command for page in PAGES for command in QUOTED.findall(page.read_text(encoding="utf-8"))}
    ours = {_script(arguments): _options(arguments) for arguments in COMMANDS.values()}
    assert len({_script(command) for command in quoted}) >= 8
    for command in quoted:
        assert _script(command) in ours and _options(command) <= ours[_script(command)], command


@pytest.mark.parametrize("name", COMMANDS)
def test_every_benchmark_says_what_it_takes(name):
    script = _script(COMMANDS[name])
    file = script.removeprefix("-m ").replace(".", "/") if script.startswith("-m ") else script.removesuffix(".py")
    text = next(p for p in (ROOT / f"{file}.py", ROOT / file / "__main__.py") if p.is_file()).read_text("utf-8")
    for option in re.findall(r"--[\w-]+", COMMANDS[name]):
        assert f'"{option}"' in text, f"{script} has no option {option}"


def test_it_keeps_what_is_printed_and_names_what_failed(tmp_path, monkeypatch, capsys):
    scripts = {"works": "print(6 * 7)", "fails": "raise SystemExit(3)"}
    for name, text in scripts.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setitem(COMMANDS, name, str(tmp_path / f"{name}.py"))
    monkeypatch.setattr(sys, "argv", ["benchmarks", *scripts, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert (tmp_path / "out" / "works.md").read_text().split() == ["42"]
    assert "failed (3)" in capsys.readouterr().out


def test_an_unknown_name_is_answered_with_the_known_ones():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "there is no benchmark speed; choose from alignment" in done.stderr
