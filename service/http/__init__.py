"""One request: middleware, body, accept, inputs, params, call, waiting.

forms/ are the ways to write the events of an answer.
"""
