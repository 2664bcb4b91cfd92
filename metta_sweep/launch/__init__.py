"""From one machine to a Ray cluster: renders and checks cluster files, keeps clusters, submits sweeps as jobs."""
