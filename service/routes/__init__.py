"""One file a group of endpoints: read, submit, wait, reply."""
