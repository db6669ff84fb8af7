"""The whole pipeline on one machine: what `make demo` starts, lives through and leaves running."""
