"""Layer 1: sequences of observations: holding, reading, splitting and scaling them."""
