"""Looks at everything a deployment depends on, and says what is wrong and what to do."""
