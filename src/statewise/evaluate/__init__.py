"""Layer 7: scoring, backtesting and comparing models."""
