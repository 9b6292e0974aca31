"""The ways to write the events of an answer."""
