"""What service and training rely on: rows, operations, models, noise, levels, what a number is.

Imports nothing of ours.
"""
