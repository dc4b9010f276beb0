"""The commands, one file a group, and the tables and bars that they show."""
