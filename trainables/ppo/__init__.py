"""Proximal policy optimisation: policies, loss, learner and the training loop."""
