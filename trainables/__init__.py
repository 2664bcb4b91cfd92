"""One run: training, evaluation and their costs, on one placement group; see README.md.

Training programs call `metta_sweep.report`.
"""
