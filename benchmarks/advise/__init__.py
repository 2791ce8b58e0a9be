"""Whether to follow advice: what it costs and gains on worlds and files that its constants were not chosen on."""
