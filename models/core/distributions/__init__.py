"""Distributions given a network's numbers, the standard normal, unnormalised densities."""
