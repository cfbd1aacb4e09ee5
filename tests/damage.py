"""Files as a bad disk or an interrupted copy leaves them."""

from __future__ import annotations

from hypothesis import strategies as st


def damaged_bytes(draw, content):
    """The bytes cut, or some of them replaced, put in or taken away."""
    content = bytearray(content)
    start, other = draw(st.integers(0, max(0, len(content) - 1))), draw(st.binary(min_size=1, max_size=8))
    match draw(st.sampled_from(["cut", "replace", "insert", "remove"])):
        case "cut":
            del content[start:]
        case "replace":
            content[start : start + len(other)] = other
        case "insert":
            content[start:start] = other
        case "remove":
            del content[start : start + len(other)]
    return bytes(content)
