"""Layer 8: a comparison as a page, as plain text, and as a folder that can be used again."""
