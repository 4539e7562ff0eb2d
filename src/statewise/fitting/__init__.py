"""Layer 5: fitting. Functions of an objective, ignorant of models."""
