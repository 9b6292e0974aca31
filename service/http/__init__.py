"""One request: endpoint, middleware, body, accept, inputs, params, job, call, waiting.

forms/ are the ways to write the events of an answer.
"""
