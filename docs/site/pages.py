"""Hooks of MkDocs: the site has the repository's pages under the repository's paths.

MkDocs takes pages from one directory only, while the README and its like are above it. So each page
and each file that pages link to is named here by its path from the root, and no link is rewritten.
The API pages are made of the docstrings of what is public."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
LINKED = (
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "docs/*.md",
    "docs/images/*",
    "examples/*.py",
    "examples/*.yaml",
    "examples/monitoring/*",
)
API = {
    "supervisor": ("The supervisor", "asupervisor.supervisor.supervisor.Supervisor"),
    "config": ("Settings", "asupervisor.config"),
    "errors": ("Errors", "asupervisor.errors"),
    "client": ("The client", "asupervisor.client"),
    "remote": ("Clients of a CRI server", "asupervisor.remote"),
    "streaming": ("Clients of streams", "asupervisor.streaming.client"),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace what lies below ``docs`` by the pages under their paths from the root."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    for pattern in LINKED:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    for name, (title, target) in API.items():
        text = f"# {title}\n\n::: {target}\n"
        files.append(File.generated(config, f"docs/api/{name}.md", content=text))
    return files
