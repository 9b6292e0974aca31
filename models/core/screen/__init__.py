"""Several models as one detector."""
