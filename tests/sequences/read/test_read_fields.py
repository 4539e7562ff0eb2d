"""The formats of languages, molecules, archives and wards. Oracle: files written out here, and what they must be read as."""

from __future__ import annotations

import numpy as np
import pytest

import statewise as sw

CONLLU = """# sent_id = a-1
# text = Cannot stop.
1-2\tCannot\t_\t_\t_\t_\t_\t_\t_\t_
1\tCan\tcan\tAUX\tMD\t_\t3\taux\t_\t_
2\tnot\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_
3\tstop\tstop\tVERB\tVB\t_\t0\troot\t_\t_
3.1\tit\tit\tPRON\tPRP\t_\t_\t_\t_\t_

# sent_id = a-2
1\tstop\tstop\tVERB\tVB\t_\t0\troot\t_\t_
2\t.\t.\t_\t.\t_\t1\tpunct\t_\t_
"""
RECORD = """Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,54
00:00,Gender,0
00:00,Height,-1
00:00,ICUType,4
00:00,Weight,-1
00:07,GCS,15
00:07,HR,73
01:30,HR,77
01:30,Weight,60.5
"""


def read(tmp_path, name: str, text: str) -> sw.Sequences:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return sw.read(path)


def words(seqs: sw.Sequences) -> list[str]:
    return [seqs.symbols[int(code)] for code in seqs.values[:, 0]]


def test_conllu_leaves_out_spans_and_empty_nodes(tmp_path):
    seqs = read(tmp_path, "a.conllu", CONLLU)
    assert words(seqs) == ["Can", "not", "stop", "stop", "."]
    assert seqs.lengths.tolist() == [3, 2]
    assert seqs.ids == ("a-1", "a-2")
    assert seqs.labels.tolist() == ["AUX", "PART", "VERB", "VERB", ""]


def test_a_word_and_a_tag_a_line(tmp_path):
    seqs = read(tmp_path, "a.conll", "# first\nFrom\tADP\tIN\nus\tPRON\tPRP\n\n\n# second\nGo\tVERB\tVB\n")
    assert words(seqs) == ["From", "us", "Go"]
    assert seqs.ids == ("first", "second")
    assert seqs.labels.tolist() == ["ADP", "PRON", "VERB"]


def test_fasta_joins_wrapped_lines(tmp_path):
    seqs = read(tmp_path, "a.fasta", ">s1 a protein\nACGT\nAC\n>s2\nGG\n")
    assert seqs.lengths.tolist() == [6, 2]
    assert "".join(seqs.symbols[int(c)] for c in seqs.values[:, 0]) == "ACGTACGG"
    assert (seqs.ids, seqs.labels) == (("s1", "s2"), None)


def test_fasta_with_labels_and_a_mask(tmp_path):
    seqs = read(tmp_path, "a.fa", ">s1\nMKV\nCHH\n011\n>s2\nAM\nEC\n10\n")
    assert seqs.labels.tolist() == ["", "H", "H", "E", ""]
    assert seqs.lengths.tolist() == [3, 2]


def test_fasta_with_labels_alone(tmp_path):
    assert read(tmp_path, "a.fa", ">s1\nMKV\nCHH\n>s2\nAM\nEC\n").labels.tolist() == list("CHHEC")


def test_ts_of_unequal_lengths(tmp_path):
    head = "# a comment\n@problemName p\n@timeStamps false\n@classLabel true a b\n@data\n"
    seqs = read(tmp_path, "a.ts", head + "1,2,3:4,?,6:a\n7,8:9,10:b\n")
    np.testing.assert_array_equal(seqs.arrays()[0], [[1, 4], [2, np.nan], [3, 6]])
    np.testing.assert_array_equal(seqs.arrays()[1], [[7, 9], [8, 10]])
    assert seqs.labels.tolist() == ["a", "b"]


def test_a_record_of_the_ward(tmp_path):
    seqs = read(tmp_path, "132539.txt", RECORD)
    assert seqs.ids == ("132539",)
    np.testing.assert_allclose(seqs.times, [7 / 60, 1.5])
    columns = dict(zip(seqs.columns, seqs.values.T, strict=True))
    np.testing.assert_array_equal(columns["HR"], [73, 77])
    np.testing.assert_array_equal(columns["GCS"], [15, np.nan])
    np.testing.assert_array_equal(columns["Weight"], [np.nan, 60.5])
    assert seqs.inputs.tolist() == [[54, 0, -1, 4, -1]] * 2
    assert seqs.dim == 37


def test_a_folder_of_records_with_outcomes(tmp_path):
    (tmp_path / "1.txt").write_text(RECORD)
    (tmp_path / "2.txt").write_text(RECORD.replace("132539", "132540"))
    (tmp_path / "Outcomes-a.txt").write_text("RecordID,SAPS-I,In-hospital_death\n132539,6,0\n132540,16,1\n")
    seqs = sw.read(tmp_path)
    assert seqs.labels.tolist() == [0, 1]
    assert seqs.ids == ("132539", "132540")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.conllu", "one\n", "line 1: there are 1 columns"),
        ("a.conllu", "# only a comment\n", "there is no sentence"),
        ("a.conllu", CONLLU.replace("1\tCan\t", "x\tCan\t"), "line 4: the first column is 'x'"),
        ("a.fa", "ACGT\n", "line 1: letters before the first header"),
        ("a.fa", ">a\n>b\nAC\n", "the record 'a' has no letters"),
        ("a.ts", "@problemName p\n1,2\n", "line 2: the head has a line"),
        ("a.ts", "@data\n1,x\n", "line 2: could not convert string to float: 'x'"),
        ("a.ts", "@data\n1,2:3,4\n1,2\n", "line 3: this case has 1 columns and the first 2"),
        ("a.ts", "@timeStamps true\n@data\n(0,1)\n", "line 1: time stamps"),
        ("a.ts", "@classLabel true a\n", "there is no line @data"),
        ("r.txt", RECORD + "01:40,HR\n", "line 12: '01:40,HR' is not hh:mm,parameter,value"),
        ("r.txt", RECORD + "01:40,Mood,3\n", "the parameter 'Mood'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, name, text, said):
    with pytest.raises(sw.DataError, match=said):
        read(tmp_path, name, text)


def test_outcomes_must_have_every_record(tmp_path):
    (tmp_path / "1.txt").write_text(RECORD)
    (tmp_path / "Outcomes-a.txt").write_text("RecordID,In-hospital_death\n7,0\n")
    with pytest.raises(sw.DataError, match="do not have the record 132539"):
        sw.read(tmp_path)
