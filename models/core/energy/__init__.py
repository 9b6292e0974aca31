"""Energies, Langevin, features, annealed importance sampling."""
