"""Does weighting pay, and when: every table and figure of the comparison, from one command."""
