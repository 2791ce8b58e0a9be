"""Weigh corpora."""
