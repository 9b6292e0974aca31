"""From result columns to what an answer says: numbers, screening, drift.

No HTTP.
"""
