"""From files, or from nothing, to batches. Nothing here imports jax."""
