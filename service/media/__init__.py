"""Bytes to arrays and back: pictures, npy, the stream format.

No HTTP.
"""
