"""Layer 1: what the verbs return. Frozen dataclasses of NumPy arrays, each with `to_frame()` and `plot()`."""
