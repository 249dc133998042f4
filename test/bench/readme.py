"""README.md of this folder holds the tables of the benchmarks, each between marks of its name."""

import re
from pathlib import Path


def replace(name, text):
    path = Path(__file__).resolve().parent / "README.md"
    marked = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
    old = path.read_text()
    if not marked.search(old):
        raise SystemExit(f"README.md has no place for {name}")
    path.write_text(marked.sub(lambda match: f"{match[1]}{text}\n{match[2]}", old))
