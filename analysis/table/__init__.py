"""Tables of results for a paper: what their cells say, and how LaTeX, Markdown and CSV write it."""
