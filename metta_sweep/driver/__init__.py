"""One sweep on one Ray cluster: asks the optimiser, runs Tune, keeps the registry true, shows progress."""
