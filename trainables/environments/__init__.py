"""What policies act in: MettaGrid, Gymnasium and Atari, behind one batched interface."""
