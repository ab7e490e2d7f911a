"""Events out of bytes that are cut anywhere."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from runware_jobs.client.text.sse import END, EventReader

CHUNKS = st.lists(
    st.dictionaries(st.text(max_size=3), st.text(max_size=8), min_size=1, max_size=2), max_size=5
)
LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def read(parts):
    reader = EventReader()
    return [event for part in parts for event in reader.feed(part)] + reader.feed(b"", is_last=True)


def cut(body, places):
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in pairwise(edges)]


@given(CHUNKS, LINE_ENDS, st.lists(st.integers(0, 10_000), max_size=8), st.sampled_from([0, 1]))
def test_every_event_arrives_once_wherever_the_bytes_are_cut(chunks, line_end, places, blank_lines):
    lines = [f": ping{line_end}"]
    for chunk in chunks:
        lines += [
            f"id: 1{line_end}",
            f"data: {json.dumps(chunk, ensure_ascii=False)}{line_end}",
            line_end * blank_lines,
        ]
    body = "".join([*lines, f"data: {END}{line_end}"]).encode("utf-8", "surrogatepass")

    events = read(cut(body, places))

    assert [json.loads(event) for event in events[:-1]] == chunks
    assert events[-1] == END


def test_data_of_several_lines_is_one_event():
    assert read([b'data: {"a":\ndata: 1}\n\ndata:{"b":2}\n\n']) == ['{"a":\n1}', '{"b":2}']


def test_byte_order_mark_is_no_part_of_the_first_line():
    assert read([b"\xef\xbb", b"\xbfdata: 1\n\n"]) == ["1"]


def test_what_is_no_json_is_told_at_its_blank_line():
    assert read([b"data: {broken\n\n"]) == ["{broken"]
