"""Recipe, objective, the loop, objectives of each kind of model."""
