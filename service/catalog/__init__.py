"""Bundles on the shelf: found, built, checked, timed, described, looked up."""
