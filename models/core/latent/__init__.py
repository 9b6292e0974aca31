"""Encoder, posterior, prior, importance-weighted bound, decoders, and their programs."""
