"""Writes XML files of labels."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, indent, tostring

from facekp.core.errors import UserError
from facekp.core.files import write_text

INVALID = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # characters that XML can't hold


def write_xml(path: Path, root: Element) -> None:
    """Write an element with all below it, indented, in UTF-8.

    It has no XML declaration, which Label Studio refuses in a labelling interface.

    Raises:
        UserError: a name or a text has a character that XML can't hold.
        CannotWrite: the file can't be written.
    """
    for element in root.iter():
        for text in (element.text or "", *element.attrib.values()):
            if INVALID.search(text):
                raise UserError(f"{path}: can't hold {text[:80]!r}, as XML has no such character; rename it")
    indent(root)
    write_text(path, tostring(root, encoding="unicode") + "\n")
