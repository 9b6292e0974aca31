"""Messages, tickets, lanes, the engine, the worker and its client.

No HTTP, no pydantic, no bundle.
"""
