"""A trained model as a folder, its pictures' preprocessing and the runtime of its graphs."""
