"""MkDocs' hook: pages that are made from the code, from README.md and from the notebook when the site is built."""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from notebook import notebook_page
from reference_commands import commands_page
from reference_fields import field_pages
from reference_methods import lists_page, method_pages
from reference_python import python_page

from interlude.simulator.methods import METHODS

_NOTEBOOK = "notebooks/first_steps"
_NAMED_BY_FILE = re.compile(r"\[[\w./-]+\.md\]\((?P<path>[\w./-]+\.md)(?P<anchor>#[^)]*)?\)")
"""A link whose text is the name of a file."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the page of every method into the navigation."""
    (reference,) = (section["Reference"] for section in config.nav if "Reference" in section)
    reference.append({"Formula cards": [{name: f"reference/methods/{name}.md"} for name in METHODS]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is generated to the files of docs/."""
    for path, content in _generated(Path(config.config_file_path).parent):
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Call linked pages by their titles, and link the table of methods to cards, which the repository has not."""
    del config
    folder = posixpath.dirname(page.file.src_uri)

    def titled(link: re.Match[str]) -> str:
        target = files.get_file_from_path(posixpath.normpath(posixpath.join(folder, link["path"])))
        heading = re.search(r"^# (.+)$", target.content_string, re.MULTILINE) if target else None
        return f"[{heading[1]}]({link['path']}{link['anchor'] or ''})" if heading else link[0]

    if page.file.src_uri == "methods.md":
        markdown = re.sub(r"^\| `(\S+?)` \|", r"| [`\1`](reference/methods/\1.md) |", markdown, flags=re.MULTILINE)
    return _NAMED_BY_FILE.sub(titled, markdown)


def _generated(root: Path) -> Iterator[tuple[str, str | bytes]]:
    """Yield the path below docs/ and the content of every generated file."""
    readme = (root / "README.md").read_text(encoding="utf-8")
    yield "index.md", readme.replace("](docs/", "](").replace("](CHANGELOG.md)", "](changelog.md)")
    yield "changelog.md", (root / "CHANGELOG.md").read_text(encoding="utf-8")
    saved = (root / "docs" / f"{_NOTEBOOK}.ipynb").read_text(encoding="utf-8")
    page, figures = notebook_page(saved, Path(_NOTEBOOK).name)
    yield f"{_NOTEBOOK}.md", page
    for name, figure in figures.items():
        yield f"{Path(_NOTEBOOK).parent}/{name}", figure
    for name, text in field_pages().items():
        yield f"reference/fields/{name}.md", text
    for name, text in method_pages():
        yield f"reference/methods/{name}.md", text
    yield "reference/names.md", lists_page()
    yield "reference/commands.md", commands_page()
    yield "reference/python.md", python_page()
