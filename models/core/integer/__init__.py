"""Maps of integers, their prior and programs (IDF)."""
