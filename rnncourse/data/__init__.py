"""Data that needs no download: read from what every installation carries, or made on the spot."""
