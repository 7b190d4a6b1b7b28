"""The benchmark ``facekp.bench``: `run` runs its sections, each of which is a module that returns measurements."""
