"""OpenRLHF's train_dpo with robust weights: its options stay as they are, ours are below; start it with torchrun."""

import runpy

from counterpoise_adapters.openrlhf import RobustConfig, patched

config = RobustConfig("dora", penalty=0.5, scope="world")  # of a file with a column `ratio`, from `counterpoise weigh`
if __name__ == "__main__":
    with patched(config):
        runpy.run_module("openrlhf.cli.train_dpo", run_name="__main__")
