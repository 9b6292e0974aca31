"""Likely over HTTP: loads bundles and answers requests about them; knows no family by name."""
