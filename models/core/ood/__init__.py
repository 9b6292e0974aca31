"""Scores: pure rules from columns to one number.

Knows no model.
"""
