"""Words that are no typing errors: what ``soundsearch/labels/other_words.txt`` is made of.

    python -m recipes.mini.other_words

Of the words that the sentence encoder's vocabulary has (Apache-2.0; the more frequent part, which
has few mere beginnings of words), those that would be read as a word for a sound, though the
encoder says that they mean something else: orange is not the French orage, nor is a castle cattle.
Needs the extra ``text``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soundsearch.labels import lexicon
from soundsearch.labels.sentences import embedded, vocabulary
from soundsearch.labels.vocabulary import AUDIOSET

# So many pieces of the vocabulary, which is ordered by frequency, are words.
_FREQUENT = 52_000
# As near as this, a word is the same one in another language.
_SAME = 0.6


def main() -> None:
    """Write the table."""
    lexicon.other_words = frozenset  # type: ignore[assignment]  # none, to begin with
    known = lexicon.Lexicon(AUDIOSET)
    taken: dict[str, str] = {}
    for piece in vocabulary()[:_FREQUENT]:
        word = piece.removeprefix("▁").casefold()
        if piece.startswith("▁") and word.isalpha():
            near = known.misspelt(lexicon.singular(word))
            if near and not known.find(word, guess=False).labels:
                taken[lexicon.singular(word)] = near
    words = sorted(taken)
    own = embedded(words).mean(axis=0)
    near = embedded([taken[word] for word in words]).mean(axis=0)
    cosines = np.einsum("nd,nd->n", own, near)
    others = [word for word, cosine in zip(words, cosines, strict=True) if cosine < _SAME]
    path = Path(lexicon.__file__).with_name("other_words.txt")
    path.write_text("\n".join(others) + "\n", "utf-8")
    print(f"{len(others)} of {len(words)} words: {path}")


if __name__ == "__main__":
    main()
