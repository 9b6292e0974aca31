"""From scores to p-values, decisions and promises, for one image, a class, a group or a stream."""
