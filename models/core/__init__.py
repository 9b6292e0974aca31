"""What every family shares: rows, operations, noise, calibration and bundles."""
