"""Make ```penalized``` or ```cp.penalized``` in running text a link to its reference; the pages stay plain Markdown."""

import importlib
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

PACKAGES = [
    "counterpoise",
    "counterpoise_adapters.pytorch",
    "counterpoise_adapters.trl",
    "counterpoise_adapters.sklearn",
    "counterpoise_adapters.advise",
]
WORDS = {"ratio"}  # columns and arguments have these names too
CALL = re.compile(r"^((?:[A-Za-z_]+\.)*)([A-Za-z_]\w*)(\(.*\))?$")


def _targets() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        for name in importlib.import_module(package).__all__:
            found.setdefault(name, f"{package}.{name}")
            found[f"{package}.{name}"] = f"{package}.{name}"
    return found | {f"cp.{n.removeprefix('counterpoise.')}": n for n in found.values() if n.count(".") == 1}


class Links(SphinxTransform):
    default_priority = 5

    def apply(self, **_: Any) -> None:
        targets = _targets()
        for literal in list(self.document.findall(nodes.literal)):
            match = CALL.match(literal.astext())
            if not match or isinstance(literal.parent, nodes.reference | addnodes.pending_xref | nodes.title):
                continue
            name = match[1] + match[2]
            if name in targets and name not in WORDS:
                link = addnodes.pending_xref(
                    "", refdomain="py", reftype="obj", reftarget=targets[name], refexplicit=True, refwarn=False,
                    refdoc=self.env.docname,
                )  # fmt: skip
                literal.replace_self(link)
                link += literal


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(Links)
    return {"parallel_read_safe": True}
