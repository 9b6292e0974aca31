"""The evaluation of a screen."""
