"""The family tree: every file directly in this folder is one family of densities."""
