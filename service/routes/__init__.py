"""One file a group of endpoints: read, run a job, reply."""
