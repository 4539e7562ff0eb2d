"""Layer 6: the models. Thin: options, parameters and verbs; the algorithms live in inference and fitting."""
