"""From one machine to a Ray cluster: renders and checks cluster files, brings clusters up and down, submits sweeps as
jobs.
"""
