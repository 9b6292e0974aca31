"""Bundles on the shelf: found, built, checked, timed, looked up."""
