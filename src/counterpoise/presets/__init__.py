"""Published ways to weigh preferences, each as its formula, its source and its quirks; docs/reference/presets.md."""
