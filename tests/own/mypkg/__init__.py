"""A package of a user's own, with one of everything that a config may build."""
