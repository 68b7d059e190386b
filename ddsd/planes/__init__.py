"""The planes: what the domain looks like from outside. They do not import each other."""
