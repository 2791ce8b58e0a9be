"""Stands for flash-attn's import, which OpenRLHF makes unconditionally and which needs nvcc; raises when it is used."""

import sys

__path__ = []


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def absent(*args, **kwargs):
        raise RuntimeError(f"flash_attn.{name} was called, and this is a stub: packing and ring attention need a GPU")

    return absent


for part in ("bert_padding", "utils", "utils.distributed"):
    sys.modules[f"{__name__}.{part}"] = sys.modules[__name__]
