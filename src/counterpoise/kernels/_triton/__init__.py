"""The Triton kernels; only `counterpoise.kernels._launch` imports them, when the first call goes to one."""
