"""Directive ``public``: the documentation of a package's public names, or of those that some of its modules define.

    .. public:: counterpoise
       :modules: counterpoise.weights counterpoise.groups

With ``:rest:`` in place of ``:modules:`` it lists the names whose module no page claims, so that none goes missing.
"""

import enum
import importlib
import inspect
import re
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.util.nodes import nested_parse_with_titles

BAR = re.compile(r"\|(?=[^`]*(?:`[^`]*`[^`]*)*$)")  # outside of `code`
LETTER = re.compile(r"^(\s*)(\w\.(?:\s|$))")
CLAIM = re.compile(r"^\s*:modules: (.+)$", re.MULTILINE)


class Public(Directive):
    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "modules": directives.unchanged,
        "rest": directives.flag,
        "names": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        package = importlib.import_module(self.arguments[0])
        if "rest" in self.options:
            self.state.document.settings.env.note_reread()  # other pages decide what is on this one
        names = self.options["names"].split() if "names" in self.options else sorted(package.__all__, key=self._place)
        values = {name: getattr(package, name) for name in names}
        wanted = {name: value for name, value in values.items() if self._wanted(_module(value, package.__name__))}
        lines = [line for name, value in wanted.items() for line in _entry(f"{package.__name__}.{name}", value)]
        node = nodes.section()
        node.document = self.state.document
        source = self.state_machine.get_source(self.lineno) or ""
        nested_parse_with_titles(self.state, StringList(lines, source), node)
        return node.children

    def _place(self, name: str) -> tuple[int, str, int]:
        """Where a name is defined: modules in the order of the directive, names in that of the source."""
        value = inspect.unwrap(getattr(importlib.import_module(self.arguments[0]), name))
        module = _module(value, self.arguments[0])
        modules = self.options.get("modules", "").split()
        order = next((i for i, claimed in enumerate(modules) if _inside(module, claimed)), len(modules))
        try:
            return order, module, inspect.getsourcelines(value)[1]
        except TypeError:  # an alias or a constant, which has no line
            return order, module, 0

    def _wanted(self, module: str) -> bool:
        if "rest" in self.options:
            return not any(_inside(module, claimed) for claimed in _claims())
        return "modules" not in self.options or any(_inside(module, m) for m in self.options["modules"].split())


def _module(value: Any, package: str) -> str:
    """Return the module that defines a value: an alias is the package's own."""
    module = getattr(value, "__module__", package)
    return module if _inside(module, package.partition(".")[0]) else package


def _inside(module: str, claimed: str) -> bool:
    return module == claimed or module.startswith(claimed + ".")


def _claims() -> list[str]:
    pages = (Path(__file__).parents[1] / "reference").glob("*.md")
    return [m for page in pages for line in CLAIM.findall(page.read_text()) for m in line.split()]


def _entry(name: str, value: Any) -> list[str]:
    if not inspect.isclass(value) and not inspect.isroutine(value):
        return [f".. autodata:: {name}", ""]
    if not inspect.isclass(value):
        pictures = [f"   .. minigallery:: {name}", ""] if name.count(".") == 1 else []
        return [f".. autofunction:: {name}", "", *pictures]
    lines = [f".. autoclass:: {name}"]
    if not issubclass(value, tuple | enum.Enum):  # their fields stand in the docstring, and members say no more
        lines.append("   :members:")
    if issubclass(value, enum.Enum):
        lines += ["   :no-undoc-members:", ""]
        for member in value:
            lines += [f"   ``{member.name}`` = {member.value}", f"      {getattr(member, 'message', '')}."]
    return [*lines, ""]


def _escape(_app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Keep |x| a modulus and a description "l. A loss ..." a sentence: reStructuredText has other uses for both."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            lines[i] = LETTER.sub(r"\1\\\2", BAR.sub(r"\\|", line))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("public", Public)
    app.connect("autodoc-process-docstring", _escape, priority=400)  # before napoleon joins lines
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    return {"parallel_read_safe": True}
