"""Promoters in the DNA of E. coli: 57 letters, is there one?

Data: a CSV file with the columns label (+ or −), name, sequence (57 letters). Every sequence is left out once. Source of the task: Towell,
Shavlik & Noordewier (1990); Harley & Reynolds (1987).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

import statewise as sw
from statewise._core.seed import generator
from statewise.dissection.panels import Histogram, Panel
from statewise.recipes.finding import Finding, Score
from statewise.sequences.sequences import Sequences

MEASURE = "errors, each sequence left out once"
LETTERS = "acgt"


def run(path: Path | None = None, quick: bool = False, seed: int = 0) -> Finding:
    """A chain of positions with its own letters for each class (a left-to-right hidden Markov model), and a GRU in both directions."""
    codes, labels = _data(path, seed)
    folds = np.arange(len(codes)) if not quick else np.arange(len(codes)) % 3
    margins = {"position chain": np.zeros(len(codes)), "BiGRU": np.zeros(len(codes))}
    for fold in np.unique(folds):
        out = folds == fold
        margins["position chain"][out] = _chain(codes[~out], labels[~out], codes[out])
        margins["BiGRU"][out] = _network(codes[~out], labels[~out], codes[out], 4 if quick else 40, seed)
    wrong = {name: (margin > 0) != labels for name, margin in margins.items()}
    scores = [
        Score(name, MEASURE, float(w.sum()), float(np.sqrt(len(w) * w.mean() * (1 - w.mean()))))
        for name, w in wrong.items()
    ]
    if path is not None:
        scores.append(Score("logistic regression on letters", MEASURE, 8.0, None, "the data's README"))
        scores.append(Score("KBANN", MEASURE, 4.0, None, "promoters.names of the UCI repository"))
    m = margins["position chain"]
    edges = np.linspace(m.min(), m.max(), 21)
    return Finding(
        "Promoters in E. coli" if path else "A motif in random letters",
        f"{len(codes)} sequences of {codes.shape[1]} letters, half of them promoters",
        tuple(scores),
        (
            f"Letters that belong to their places, a chain that never turns back, leave {int(wrong['position chain'].sum())} errors.",
            f"A network that reads both ways leaves {int(wrong['BiGRU'].sum())}; with a hundred sequences it has little to learn the places from.",
            "Position is the memory here: a chain of 57 states counts exactly, which a small network must learn to do.",
        ),
        (
            Panel(
                "Log odds of a promoter, left out", "nats", "sequences",
                (Histogram(edges, np.histogram(m[labels], edges)[0], "promoter"), Histogram(edges, np.histogram(m[~labels], edges)[0], "none")),
            ),
        ),
        (MEASURE, "below", 6.0) if path else None,
    )  # fmt: skip


def _data(path: Path | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, T) codes 0 … 3 and (N,) whether there is a promoter."""
    if path is not None:
        with open(path, encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        codes = np.array([[LETTERS.index(letter) for letter in row["sequence"].lower()] for row in rows])
        return codes, np.array([row["label"] == "+" for row in rows])
    rng = generator(seed)
    codes, labels = rng.integers(0, 4, (60, 20)), np.arange(60) % 2 == 0
    codes[labels, 6:11] = np.where(rng.random((30, 5)) < 0.9, [3, 0, 3, 0, 0], codes[labels, 6:11])
    return codes, labels


def _chain(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Log odds of two chains that go through the positions one by one; letters with one count of each added."""
    length = train.shape[1]
    scores = []
    for which in (labels, ~labels):
        counts = 1.0 + np.array([(train[which] == letter).sum(axis=0) for letter in range(4)]).T
        start = np.eye(length)[0]
        ahead = np.eye(length, k=1)
        ahead[-1, -1] = 1.0
        model = sw.HMM(
            states=length, emission="categorical", initial_probs=start, transition_probs=ahead,
            probs=counts / counts.sum(axis=1, keepdims=True),
        )  # fmt: skip
        scores.append(model.log_prob(Sequences.from_arrays(list(test.astype(float)))))
    return np.asarray(scores[0] - scores[1] + np.log(labels.mean() / (1 - labels.mean())))


def _network(train: np.ndarray, labels: np.ndarray, test: np.ndarray, epochs: int, seed: int) -> np.ndarray:
    """Log odds of a bidirectional classifier, the mean of three."""
    seqs = Sequences.from_arrays(list(train.astype(float)), labels=list(labels.astype(int)))
    odds = []
    for member in range(1 if epochs < 10 else 3):
        model = sw.Classifier(cell="gru", hidden=16, bidirectional=True, embedding=4, dropout=0.2)
        model.fit(seqs, epochs=epochs, lr=0.01, validation=0.0, seed=seed + member)
        probs = model.predict(Sequences.from_arrays(list(test.astype(float)))).probs
        odds.append(np.log(probs[:, 1]) - np.log(probs[:, 0]))
    return np.mean(odds, axis=0)
