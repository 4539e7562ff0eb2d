"""JSB chorales: predict which of 88 keys sound next in 382 chorales by J. S. Bach, by a GRU with a Bernoulli for each key.

The score is the negative log-likelihood in nats a step (a step is all 88 keys) of steps 2 … T given those before, over the test
chorales of the official split. Bai, Kolter & Koltun (2018), table 1: GRU 8.43, LSTM 8.45, RNN 8.91. The epoch is chosen on the validation
chorales alone. Training chorales are transposed by up to five semitones at random; those of validation and test are not.

``--data`` names the file: {"train": …, "valid": …, "test": …}, each a list of sequences, each a list of steps, each a list of
active keys 0 … 87. Source of the data: Boulanger-Lewandowski, Bengio & Vincent (2012).
"""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import torch
from experiments import common
from torch import Tensor, nn

KEYS, SHIFT = 88, 5


class Chorales(nn.Module):
    """88 keys -> GRU -> 88 logits, with dropout on both sides of the GRU; one bias a key for what is played most."""

    def __init__(self, hidden: int, library: str, dropout: float) -> None:
        super().__init__()
        self.layer = common.recurrent("gru", KEYS, hidden, library)
        self.drop, self.read = nn.Dropout(dropout), nn.Linear(hidden, KEYS)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.drop(self.layer(x)[0]))


def rolls(songs: list[list[list[int]]]) -> list[Tensor]:
    """Each song as (T, 88) of 0 and 1."""
    found = []
    for song in songs:
        roll = torch.zeros(len(song), KEYS)
        for t, keys in enumerate(song):
            roll[t, keys] = 1.0
        found.append(roll)
    return found


def transposed(song: Tensor, made: torch.Generator) -> Tensor:
    """A song up or down by up to five semitones, as far as all its keys stay on the keyboard."""
    played = song.any(0).nonzero()
    low, high = max(-SHIFT, -int(played.min())), min(SHIFT, KEYS - 1 - int(played.max()))
    return song.roll(int(torch.randint(low, high + 1, (1,), generator=made)), dims=1)


def nats(model: nn.Module, songs: list[Tensor]) -> tuple[Tensor, int]:
    """Σ −log p over the steps 2 … T of songs side by side, and the number of those steps."""
    padded = nn.utils.rnn.pad_sequence(songs, batch_first=True)
    lengths = torch.tensor([len(song) - 1 for song in songs])
    seen = torch.arange(padded.shape[1] - 1)[None] < lengths[:, None]
    each = nn.functional.binary_cross_entropy_with_logits(model(padded[:, :-1]), padded[:, 1:], reduction="none").sum(2)
    return each[seen].sum(), int(lengths.sum())


@torch.no_grad()
def score(model: nn.Module, songs: list[Tensor]) -> float:
    """Nats a step over all songs."""
    model.eval()
    total, steps = nats(model, songs)
    model.train()
    return float(total) / steps


def run(
    data: str,
    quick: bool = False,
    library: str = "torch",
    seed: int = 0,
    minutes: float = 9.0,
    hidden: int = 200,
    dropout: float = 0.3,
) -> dict[str, Any]:
    parts = {name: rolls(songs) for name, songs in json.loads(Path(data).read_text()).items()}
    torch.manual_seed(seed)
    made, begun = torch.Generator().manual_seed(seed), time.perf_counter()
    model = Chorales(32 if quick else hidden, library, dropout)
    epochs, size, patience = (2 if quick else 200), 16, 30
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs, 1e-4)
    best, best_epoch, kept = score(model, parts["valid"]), 0, copy.deepcopy(model.state_dict())
    epoch = 0
    while epoch < epochs and epoch - best_epoch < patience and time.perf_counter() - begun < 60 * minutes:
        epoch += 1
        for rows in torch.randperm(len(parts["train"]), generator=made).split(size):
            total, steps = nats(model, [transposed(parts["train"][i], made) for i in rows.tolist()])
            optimiser.zero_grad()
            (total / steps).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        schedule.step()
        now = score(model, parts["valid"])
        if now < best:
            best, best_epoch, kept = now, epoch, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return {
        "validation nats": round(best, 4),
        "test nats": round(score(model, parts["test"]), 4),
        "best epoch": best_epoch,
        "epochs": epoch,
    }


if __name__ == "__main__":
    given = common.arguments(
        __doc__,
        data={"required": True, "help": "the file of the chorales"},
        hidden={"type": int, "default": 200},
        dropout={"type": float, "default": 0.3},
        minutes={"type": float, "default": 9.0, "help": "no epoch begins after so many"},
    )
    common.report(
        __file__,
        lambda: run(given.data, given.quick, given.library, given.seed, given.minutes, given.hidden, given.dropout),
    )
