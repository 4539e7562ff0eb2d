"""Good files of every format that is read, and ways to damage them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from hypothesis import strategies as st


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, values=np.arange(6.0), lengths=np.array([2, 4]), labels=np.array(["a", "b"]))
    return buffer.getvalue()


def _parquet() -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(
        {"id": ["a", "a", "b", "b"], "ds": pd.date_range("2000", periods=4), "y": [1.0, 2.0, None, 4.0]}
    ).to_parquet(buffer)
    return buffer.getvalue()


_CONLLU = (
    "# sent_id = s1\n"
    "1\tThe\tthe\tDET\t_\t_\t2\tdet\t_\t_\n"
    "2\tcat\tcat\tNOUN\t_\t_\t0\troot\t_\t_\n"
    "\n"
    "# sent_id = s2\n"
    "1-2\tdu\t_\t_\t_\t_\t_\t_\t_\t_\n"
    "1\tde\tde\tADP\t_\t_\t0\troot\t_\t_\n"
)
_TS = "@problemName small\n@timeStamps false\n@missing true\n@univariate false\n@classLabel true a b\n@data\n1,2,?:4,5,6:a\n7,8,9:1,2,3:b\n"
_PHYSIONET = "Time,Parameter,Value\n00:00,RecordID,132539\n00:00,Age,54\n00:00,Gender,0\n00:07,HR,73\n01:07,Temp,35.1\n12:07,HR,77\n"

GOOD: dict[str, bytes] = {
    "table.csv": b"unique_id,ds,y,u\na,2000-01-01,1.5,0\na,2000-01-02,NA,1\nb,2000-01-01,2.5,0\nb,2000-01-02,-3e2,1\n",
    "table.tsv": b"date\ty\n1959Q1\t1\n1959Q2\t2\n1959Q3\t3\n",
    "table.parquet": _parquet(),
    "arrays.npz": _npz(),
    "text.txt": "zwei Wörter\nund mehr".encode(),
    "words.conllu": _CONLLU.encode(),
    "letters.fasta": b">one first\nACGT\n----\n>two\nAC\nHH\n",
    "cases.ts": _TS.encode(),
    "record.txt": _PHYSIONET.encode(),
}


@dataclass(frozen=True)
class Damage:
    """Something done to a file's bytes at a place, by numbers."""

    kind: str
    place: float
    amount: int

    def apply(self, blob: bytes) -> bytes:
        return DAMAGES[self.kind](bytearray(blob), int(self.place * len(blob)), self.amount)


def _flip(blob: bytearray, at: int, amount: int) -> bytes:
    if blob:
        blob[at % len(blob)] ^= 1 << (amount % 8)
    return bytes(blob)


def _put(word: bytes) -> Callable[[bytearray, int, int], bytes]:
    return lambda blob, at, amount: bytes(blob[:at] + word + blob[at:])


WORDS = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n\n", b"\t", b",", b";", b'"', b"'", b":", b"#", b">", b"@", b"@data\n", b"?", b"_", b"=",
    b"nan", b"inf", b"-inf", b"1e999", b"1e300", b"-", b"2000-13-45", b"9" * 400, b"x" * 5000, "é☃\u2028\u0085".encode(), b"\x0b\x0c\x1c",
    b"../../../etc/passwd", b"99:99", b"-1:00", b"1-2", b"1.1", b"{}", b"[", b"\\", b"a,b,c,d,e,f,g", b"00:00,HR,1\n", b"True", b"0x1F", b"1_000",
)  # fmt: skip
DAMAGES: dict[str, Callable[[bytearray, int, int], bytes]] = {
    "flip": _flip,
    "cut": lambda blob, at, amount: bytes(blob[:at]),
    "behead": lambda blob, at, amount: bytes(blob[at:]),
    "drop": lambda blob, at, amount: bytes(blob[:at] + blob[at + 1 + amount % 40 :]),
    "repeat": lambda blob, at, amount: bytes(blob[:at] + blob[max(0, at - amount % 60) : at] + blob[at:]),
    "zero": lambda blob, at, amount: bytes(
        blob[:at] + bytes(min(amount % 64, len(blob) - at)) + blob[at + amount % 64 :]
    ),
    "swap lines": lambda blob, at, amount: b"\n".join(reversed(bytes(blob).split(b"\n"))),
    "latin-1": lambda blob, at, amount: (
        bytes(blob).decode("latin-1").encode("utf-16") if amount % 2 else bytes(blob) + b"\xe9"
    ),
} | {f"put {k}": _put(word) for k, word in enumerate(WORDS)}


def damages() -> st.SearchStrategy[list[Damage]]:
    one = st.builds(Damage, st.sampled_from(sorted(DAMAGES)), st.floats(0, 1, exclude_max=True), st.integers(0, 255))
    return st.lists(one, min_size=1, max_size=4)
