"""A Jupyter notebook as a Markdown page, with the outputs that it was saved with."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_TABLES_OWN_STYLE = re.compile(r"<style.*?</style>| (?:class|border|style)=\"[^\"]*\"", re.DOTALL)
"""What pandas adds to a table, in place of which it looks like the site's others."""


def notebook_page(text: str, name: str) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and its figures by file name.

    Args:
        text: the content of the .ipynb file.
        name: what the figures' file names begin with.
    """
    parts: list[str] = []
    figures: dict[str, bytes] = {}
    for cell in json.loads(text)["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for kind, content in _outputs(cell):
            if kind == "image/png":
                file = f"{name}-{len(figures) + 1}.png"
                figures[file] = base64.b64decode(content)
                parts.append(f"![what the cell draws]({file})")
            elif kind == "text/html":
                parts.append(_TABLES_OWN_STYLE.sub("", content).strip())
            else:
                parts.append(f"```text\n{content.rstrip()}\n```")
    return "\n\n".join(parts) + "\n", figures


def _outputs(cell: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the kind and content of each output of a cell, in its richest form."""
    for output in cell["outputs"]:
        data = output.get("data", {"text/plain": output.get("text", "")})
        kind = next(kind for kind in ("image/png", "text/html", "text/plain") if kind in data)
        yield kind, "".join(data[kind])
