"""Layer 1: the recurrences in numba, on plain float64 arrays: no classes, no torch, no judgement of user input."""
