"""From a claimed send to the channel and its outcome: the last gate, the call, the ledger."""
