"""At most once: every write is recorded, sent once, and reconciled when its response is lost."""
