"""Tickets, lanes, the engine, the worker.

No HTTP, no pydantic, no bundle.
"""
