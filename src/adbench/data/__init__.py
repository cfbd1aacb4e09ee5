"""Data sets: what a sample is, where each set keeps its files, and how images become batches."""
