"""Densities by a transform, and the programs that run one.

In one call, by inversion, by contraction.
"""
