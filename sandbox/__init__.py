"""The vendors' APIs, simulated: they behave, keep state, and misbehave on demand."""
