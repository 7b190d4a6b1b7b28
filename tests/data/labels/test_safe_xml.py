"""XML of strangers: bombs, other files, endless depth and broken text are refused in one line."""

import pytest

from facekp.core.errors import UserError
from facekp.data.labels.safe_xml import LINE, number_in, read_xml

BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;">]>
<dataset>&lol2;</dataset>"""


def read(tmp_path, content):
    path = tmp_path / "a.xml"
    path.write_bytes(content.encode("latin-1"))
    return read_xml(path, "dataset", "a file of dlib's imglab"), path


def test_elements_know_their_line_and_the_encoding_is_the_declared_one(tmp_path):
    root, path = read(
        tmp_path, "<?xml version='1.0' encoding='ISO-8859-1'?>\n<dataset>\n <box left='ä' x='3'/></dataset>"
    )
    (box,) = root
    assert (box.get(LINE), box.get("left"), number_in(box, "x", path)) == ("3", "ä", 3.0)
    with pytest.raises(UserError, match=r"a.xml: line 3: left of <box> is 'ä', not a finite number"):
        number_in(box, "left", path)
    with pytest.raises(UserError, match=r"a.xml: line 3: top of <box> is missing"):
        number_in(box, "top", path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB, r"^data.labels=[^:]*a.xml: line 2: has a document type \(DTD\), which is not read; give a file of "),
        ("<dataset>" * 60, "a.xml: line 1: elements are nested more than 50 levels deep"),
        ("<dataset><box></dataset>", "not valid XML .*mismatched tag: line 1"),
        ("<annotations/>", "its root is <annotations>, not <dataset>; give a file"),
        ("", "not valid XML"),
        ("name,x,y", "not valid XML"),
    ],
)
def test_faults_are_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["gb2312", "latin-one"])
def test_an_encoding_that_cannot_be_read_is_refused(tmp_path, encoding):
    path = tmp_path / "a.xml"
    path.write_text(f"<?xml version='1.0' encoding='{encoding}'?><dataset/>")
    with pytest.raises(UserError, match=r"a.xml: its encoding can't be read \(.*\); save it in UTF-8"):
        read_xml(path, "dataset", "a file of dlib's imglab")
