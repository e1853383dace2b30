"""What holds of all that is told of a stream."""

from __future__ import annotations

from soundsearch import Began


def check_pairs(moments, duration):
    """Whether what begins ends, once, and times are in order."""
    on, heard = {}, 0.0
    for each in moments:
        assert each.heard >= heard
        heard = each.heard
        mid = each.label.mid
        if isinstance(each, Began):
            assert mid not in on and 0 <= each.onset < each.heard
            on[mid] = each.onset
        else:
            assert each.onset == on.pop(mid) and each.onset < each.offset <= each.heard
    assert not on and heard <= duration + 1e-6
