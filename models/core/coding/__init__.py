"""Events to bytes and back with the same bits everywhere."""
