"""Pictures of computational graphs and of measurements: SVG, Mermaid and DOT. No torch, no HTTP."""
