"""Weights & Biases as a mirror of the registry, import of sweeps that live only there, and classes for old scripts."""
