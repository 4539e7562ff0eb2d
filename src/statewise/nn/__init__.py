"""Layer 3: torch modules. Nothing here is imported until a network is trained, so `import statewise` does not load torch."""
