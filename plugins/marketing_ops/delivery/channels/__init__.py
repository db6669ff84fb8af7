"""How a message leaves: one module a kind of channel."""
