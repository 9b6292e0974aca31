"""Sets, readers, splits, batches."""
