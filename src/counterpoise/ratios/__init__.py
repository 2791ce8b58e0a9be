"""Samples to ratios: how much likelier a sample is under the target than under the training data."""
