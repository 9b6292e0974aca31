"""Turns a family and a data set into a bundle that the service can load."""
