"""Measurements side by side in one run: ratios, since timings differ between machines."""
