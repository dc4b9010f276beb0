"""Code of a user's own: how it says what it is, and whose line an error is."""
