"""Read YAML files as text, lists and mappings, with errors that name the file, the line and the column."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import yaml

from .errors import RecipeError
from .text_files import read_text

_MAX_BYTES = 1 << 18  # maximum bytes of a file: PyYAML is slow
_MAX_NODES = 100_000  # maximum nodes of a document with its aliases expanded
_NULL = "tag:yaml.org,2002:null"
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "str", "seq", "map", "merge")}


class _Words(yaml.SafeLoader):
    """Resolves every scalar except null and ``<<`` as text, so that 01 is not a number and no is not false."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag in (_NULL, "tag:yaml.org,2002:merge")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_yaml(path: Path, what: str) -> Any:
    """Read a YAML file of at most 256 KiB; see :func:`parse_yaml`.

    Args:
        path: The file.
        what: The kind of file, for messages.
    Raises:
        RecipeError: As :func:`.read_text` and :func:`parse_yaml`.
    """
    return parse_yaml(read_text(path, what, _MAX_BYTES), f"the {what} {path}")


def parse_yaml(text: str, name: str) -> Any:
    """The content of a YAML document: ``None``, text, lists and dictionaries. Numbers and truth values stay text.

    Args:
        text: The document.
        name: The name of the document, for messages.
    Raises:
        RecipeError: If the text is not one valid YAML document, is nested too deeply, has a tag other than ``!!null``,
            ``!!str``, ``!!seq``, ``!!map`` and ``!!merge``, a key that occurs twice or is not a scalar, or an alias
            that contains itself, or has more than 100 000 values with its aliases expanded. Except for the depth, the
            message names the line and the column.
    """
    try:
        loader = _Words(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _Check(name, text).size(node)
        return loader.construct_document(node)
    except RecursionError:
        raise RecipeError(f"{name} is nested too deeply") from None
    except yaml.reader.ReaderError as error:
        _fail(name, text, error.position, f"the character {chr(error.character)!r} is not allowed")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        assert mark is not None
        _fail(name, text, mark.index, _problem(error))


class _Check:
    """Validates the nodes of a document before values are constructed."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.sizes: dict[int, int] = {}  # by the node's id; 0: its children are being counted

    def size(self, node: yaml.Node) -> int:
        """The number of nodes with all aliases expanded. Raises :class:`RecipeError` if a node is not allowed."""
        if id(node) in self.sizes:
            if not self.sizes[id(node)]:
                self.fail(node, "an alias must not contain itself")
            return self.sizes[id(node)]
        self.sizes[id(node)] = 0
        if node.tag not in _TAGS:
            self.fail(node, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not allowed")
        size = 1
        if isinstance(node, yaml.MappingNode):
            self.keys(node)
            size += sum(self.size(key) + self.size(value) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(map(self.size, node.value))
        if size > _MAX_NODES:
            self.fail(node, f"the document must have at most {_MAX_NODES} values with its aliases expanded, got more")
        self.sizes[id(node)] = size
        return size

    def keys(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                kind = "list" if isinstance(key, yaml.SequenceNode) else "mapping"
                self.fail(key, f"a key must be text, got a {kind}")
            if key.value in seen:
                self.fail(key, f"the key {key.value!r} occurs twice")
            seen.add(key.value)

    def fail(self, node: yaml.Node, problem: str) -> NoReturn:
        _fail(self.name, self.text, node.start_mark.index, problem)


def _problem(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "it is not valid YAML"
    if problem.startswith("but ") or problem == "second occurrence":
        return f"{error.context}, {problem}".replace("; first occurrence", "")
    if "'\\t'" in problem:
        return "indent with spaces, not with tabs"
    if "block end" in problem or "mapping values are not allowed" in problem:
        return f"{problem}: check the indentation"
    return problem


def _fail(name: str, text: str, position: int, problem: str) -> NoReturn:
    start = text.rfind("\n", 0, position) + 1
    line = text[start : text.find("\n", start) % (len(text) + 1)].strip()
    shown = repr(line) if len(line) <= 80 else f"{line[:80]!r}..."
    place = f"line {text.count(chr(10), 0, position) + 1}, column {position - start + 1}"
    raise RecipeError(f"{name}, {place}: {problem}, in {shown}") from None
