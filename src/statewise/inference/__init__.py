"""Layer 4: inference. Pure functions of (parameters, sequences) that return arrays or results; no models."""
