"""One run: built from its specification, estimated, advanced, observed, saved."""
