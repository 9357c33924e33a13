"""The golden model: integer exact NumPy that specifies every bit of the core (see ``docs/algorithm.md``)."""
