"""The vendors: one package each with a client, declarative streams and a connection form."""
