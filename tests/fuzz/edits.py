"""Damage for files: flipped bits, removed, repeated and inserted bytes, at random places."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

Edit = Callable[[bytes], bytes]
TOKENS = (  # texts that parsers of CSV, JSON, YAML and pickles stumble over
    b"NaN",
    b"-inf",
    b"1e999",
    b"-0",
    b"9" * 400,
    b"null",
    b"true",
    b'"',
    b",",
    b"\n\n\n",
    b"\r",
    b"\t",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"{" * 3000,
    b"[" * 3000,
    b"]",
    b"}",
    b": ",
    b"- ",
    b"&a [*a, *a]",
    b"!!python/object:os.system x",
    b"../../../etc/passwd",
    b"/etc/passwd",
    b"${oc.env:HOME}",
    b"=1+1",
    "é\u202e".encode(),
)
PLACES = st.floats(0, 1, exclude_max=True)  # as a fraction of the file


def _flip(place: float, bit: int) -> Edit:
    def edit(content: bytes) -> bytes:
        at = int(place * len(content))
        return content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :] if content else content

    return edit


def _insert(place: float, text: bytes) -> Edit:
    return lambda content: content[: int(place * len(content))] + text + content[int(place * len(content)) :]


def _remove(place: float, length: int) -> Edit:
    return lambda content: content[: int(place * len(content))] + content[int(place * len(content)) + length :]


def _cut(place: float) -> Edit:
    return lambda content: content[: int(place * len(content))]


def _repeat(place: float, length: int, times: int) -> Edit:
    def edit(content: bytes) -> bytes:
        at = int(place * len(content))
        return content[:at] + content[at : at + length] * times + content[at + length :]

    return edit


EDITS: st.SearchStrategy[list[Edit]] = st.lists(
    st.one_of(
        st.builds(_flip, PLACES, st.integers(0, 7)),
        st.builds(_insert, PLACES, st.sampled_from(TOKENS)),
        st.builds(_insert, PLACES, st.binary(max_size=8)),
        st.builds(_remove, PLACES, st.integers(1, 64)),
        st.builds(_cut, PLACES),
        st.builds(_repeat, PLACES, st.integers(1, 200), st.integers(2, 40)),
    ),
    min_size=1,
    max_size=4,
)
