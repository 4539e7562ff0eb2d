"""Layer 3: emission families, one file each. A new family is one file here and one line in `registry`."""
