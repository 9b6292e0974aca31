"""What goes over the wire, as pydantic; documentation and validation only."""
