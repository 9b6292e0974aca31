"""A trained model as a folder, its pictures' form and the runtime of its graphs."""
