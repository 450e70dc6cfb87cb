"""Planning: a time for each of many posts. Pure: no I/O."""
