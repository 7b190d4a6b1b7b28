"""Reads label files in XML safely: no document type, so no entities that multiply or read other files."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from facekp.core.errors import UserError
from facekp.data.labels.json_values import number_of
from facekp.data.labels.text import read_content

MAX_DEPTH = 50  # levels of nested elements; label files have about six
LINE = "line number"  # attribute of every element; no attribute in a file can have a blank in its name


def read_xml(path: Path, root: str, expected: str) -> Element:
    """The root element of a label file; each element has its line as attribute `LINE`.

    Args:
        path: the file.
        root: the name that the root must have.
        expected: what the file should be, for the message, such as ``a file of dlib's imglab``.

    Raises:
        UserError: it can't be read, is not valid, has a document type or another root, or is nested too deeply.
    """
    content = read_content(path)
    builder, parser = TreeBuilder(), expat.ParserCreate()
    depth = 0

    def refuse(fault: str) -> None:
        raise UserError(f"data.labels={path}: line {parser.CurrentLineNumber}: {fault}; give {expected}")

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            refuse(f"elements are nested more than {MAX_DEPTH} levels deep")
        builder.start(name, {**attributes, LINE: str(parser.CurrentLineNumber)})

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    parser.StartDoctypeDeclHandler = lambda *_: refuse("has a document type (DTD), which is not read")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
    except UserError:
        raise
    except expat.ExpatError as error:
        raise UserError(f"data.labels={path}: not valid XML ({error}); give {expected}") from error
    except (ValueError, LookupError) as error:  # an encoding of several bytes, or an unknown one
        raise UserError(f"data.labels={path}: its encoding can't be read ({error}); save it in UTF-8") from error
    tree = builder.close()
    if tree.tag != root:
        raise UserError(f"data.labels={path}: its root is <{tree.tag}>, not <{root}>; give {expected}")
    return tree


def place_of(path: Path, element: Element) -> str:
    """Where an element is, for messages.

    Example:
        >>> place_of(Path("a.xml"), Element("box", {LINE: "7"}))
        'a.xml: line 7'
    """
    return f"{path}: line {element.get(LINE)}"


def number_in(element: Element, name: str, path: Path) -> float:
    """The number in an attribute.

    Raises:
        UserError: it is missing or not finite.
    """
    text = element.get(name)
    value = number_of(text)
    if value != value:  # NaN
        fault = "is missing" if text is None else f"is {text[:40]!r}, not a finite number"
        raise UserError(f"{place_of(path, element)}: {name} of <{element.tag}> {fault}; correct it")
    return value
