"""Directive ``commands``: every command of ``counterpoise`` with its options, read from the functions behind them."""

import inspect
import re
import typing
from pathlib import Path
from typing import Any

from counterpoise_adapters.cli.app import app as program
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.nodes import nested_parse_with_titles

KINDS = {Path: "FILE", str: "TEXT", int: "NUMBER", float: "NUMBER"}


class Commands(Directive):
    def run(self) -> list[nodes.Node]:
        lines = [line for command in program.registered_commands for line in _section(command.name, command.callback)]
        node = nodes.section()
        node.document = self.state.document
        nested_parse_with_titles(self.state, StringList(lines, "counterpoise --help"), node)
        return node.children


def _section(name: str | None, function: Any) -> list[str]:
    title = f"counterpoise {name}"
    text = inspect.getdoc(function) or ""
    lines = [title, "=" * len(title), "", f".. program:: {title}", "", *text.replace("`", "``").splitlines(), ""]
    hints = typing.get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        kind, info = typing.get_args(hints[parameter.name])
        lines += _option(parameter.name, kind, info, parameter.default)
    return lines


def _option(name: str, kind: Any, info: Any, default: Any) -> list[str]:
    inner = [k for k in typing.get_args(kind) if k is not type(None)] or [kind]
    if typing.get_origin(kind) is typing.Literal:
        value = "|".join(inner)
    else:
        value = KINDS.get(typing.get_args(inner[0])[0] if typing.get_args(inner[0]) else inner[0], "")
    declared = [info.default, *(info.param_decls or ())]  # under Annotated the first name comes as the default
    options = [d for d in declared if isinstance(d, str) and d.startswith("-")] or ["--" + name.replace("_", "-")]
    if hasattr(info, "metavar") and type(info).__name__ == "ArgumentInfo":
        names = info.metavar or name.upper()
    else:
        names = ", ".join(f"{option} <{value}>" if value else option for option in options)
    said = re.sub(r"(--[a-z][\w-]*|\w*_\*)", r"``\1``", info.help or "")
    if default is inspect.Parameter.empty:
        said += " Required."
    elif default not in (None, "", False) and "efault" not in said:
        said += f" Default: {default}."
    return [f".. option:: {names}", "", f"   {said}", ""]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
