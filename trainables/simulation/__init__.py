"""Evaluation: episodes are played, their metrics aggregated, and kept as statistics."""
