"""Networks: rows of layers, what runs them, the published ones as tables."""
