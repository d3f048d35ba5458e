"""Where a look at a ladder goes on: below a key that need not be there any more."""

from hypothesis import given, settings
from hypothesis import strategies as st

from raftbook.core.keys import SortedKeys
from tests.core.flow import EFFORT

KEYS = st.sets(st.integers(-900, 900), max_size=1_500)


@given(KEYS, st.sets(st.integers(-900, 900), max_size=300), st.integers(-1_000, 1_000))
@settings(max_examples=50 * EFFORT, deadline=None)
def test_keys_below_are_those_of_a_sorted_list(there: set[int], gone: set[int], key: int) -> None:
    keys = SortedKeys()
    for each in there:
        keys.add(each)
    for each in there & gone:
        keys.remove(each)
    expected = sorted((each for each in there - gone if each < key), reverse=True)
    assert list(keys.below(key)) == expected
