"""Invertible maps with their log-determinants."""
