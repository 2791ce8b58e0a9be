"""How the gallery's figures look, and how they get onto a page: transparent, in two resolutions, with an alt text."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

STYLE = Path(__file__).parent / "house.mplstyle"


def reset(_conf: dict[str, Any], _name: str) -> None:
    """Start every example from the house style and without figures."""
    plt.close("all")
    mpl.rcdefaults()
    mpl.use("agg")
    plt.style.use(STYLE)


def scrape(_block: Any, variables: dict[str, Any], conf: dict[str, Any]) -> str:
    """Save the block's figures; each must say in ``set_label`` what it shows, for those who cannot see it."""
    found = [plt.figure(number) for number in plt.get_fignums()]
    found += [f for f in variables["example_globals"].values() if isinstance(f, Figure) and not hasattr(f, "number")]
    rst = ""
    for figure in found:
        if getattr(figure, "on_the_page", False):
            continue
        figure.on_the_page = True  # type: ignore[attr-defined]
        text = str(figure.get_label())
        if not text:
            raise ValueError(f"{variables['src_file']}: a figure has no set_label(...), which is its alt text")
        path = Path(next(variables["image_path_iterator"]))
        twice = path.with_name(f"{path.stem}_2_00x{path.suffix}")
        for file, dpi in ((path, 110), (twice, 220)):
            figure.savefig(file, dpi=dpi, transparent=True, metadata={"Software": None})
        rst += figure_rst([str(path)], conf["src_dir"], fig_titles=text, srcsetpaths=[{0: str(path), 2.0: str(twice)}])
    plt.close("all")
    return rst
