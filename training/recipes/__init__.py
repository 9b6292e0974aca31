"""One file per shipped bundle: the settings that made it."""
