"""Races against the tools a reader would otherwise pick. `python -m benchmarks` runs them."""
