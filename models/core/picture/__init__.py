"""Any picture's file as an 8-bit picture: what of it is decoded, and what is refused."""
