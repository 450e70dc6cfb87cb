"""The ledger: a durable record of every write, made before it is sent."""
