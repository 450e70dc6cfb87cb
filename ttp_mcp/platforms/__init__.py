"""Rules of the platforms, and how each counts text. Pure: no I/O."""
