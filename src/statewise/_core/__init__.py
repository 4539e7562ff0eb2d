"""Layer 0: the vocabulary that every other layer speaks (errors, outcomes, checks, seeds, files, progress)."""
