from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from epochal.demos.tables import TABLES, Table, load_csv, load_table, split
from epochal.errors import MissingExtraError, UsageError

GOOD = "a,b,kind\n" + "".join(f"{i},{i * 2},{'xyz'[i % 3]}\n" for i in range(12))


def written(folder: Path, text: str, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_iris_is_scikit_learns() -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn")
    theirs, ours = datasets.load_iris(), load_table("iris")
    np.testing.assert_array_equal(ours.features, theirs.data)
    np.testing.assert_array_equal(ours.labels, theirs.target)
    assert ours.classes == tuple(theirs.target_names) == ("setosa", "versicolor", "virginica")
    assert len(ours.columns) == 4


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [("iris", (150, 4), 3), ("wine", (178, 13), 3), ("breast_cancer", (569, 30), 2), ("digits", (1797, 64), 10)],
)
def test_known_tables(name: str, shape: tuple[int, int], classes: int) -> None:
    if name != "iris":
        pytest.importorskip("sklearn", reason="needs scikit-learn")
    table = load_table(name)
    assert table.features.shape == shape
    assert len(table.classes) == classes
    assert set(table.labels) == set(range(classes))
    assert name in TABLES


def test_an_unknown_table_names_a_near_one() -> None:
    with pytest.raises(UsageError, match=r"no table 'iri'[\s\S]*Did you mean 'iris'\?"):
        load_table("iri")


def test_tables_of_scikit_learn_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'epochal\[sklearn\]'"):
        load_table("wine")
    assert load_table("iris").features.shape == (150, 4)


def test_a_csv_file(tmp_path: Path) -> None:
    table = load_csv(written(tmp_path, GOOD, "my flowers.csv"), "kind")
    assert table.name == "my flowers"
    assert table.columns == ("a", "b")
    assert table.classes == ("x", "y", "z")
    assert table.features[3].tolist() == [3, 6]
    assert table.labels[:4].tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separators_bom_comments_quotes_and_blank_lines(separator: str, tmp_path: Path) -> None:
    lines = ["\ufeff# a note", "", '"a, long name",kind', *(f'" {i}","c{i % 2}"' for i in range(8)), "", ""]
    text = "\r\n".join(line.replace('",', f'"{separator}') for line in lines)
    path = written(tmp_path, text.replace("\ufeff# a note", "# a note"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    table = load_csv(path, "kind")
    assert table.columns == ("a, long name",)
    assert table.features.ravel().tolist() == list(range(8))


def test_classes_that_are_numbers_go_by_value_and_one_hot_columns_are_fine(tmp_path: Path) -> None:
    text = "red,green,blue,kind\n" + "".join(
        f"{int(i % 3 == 0)},{int(i % 3 == 1)},0,{(i % 3) * 5}\n" for i in range(12)
    )
    table = load_csv(written(tmp_path, text), "kind")
    assert table.classes == ("0", "5", "10")
    parts = split(table, validation=0.25, test=0.25, seed=0)
    assert np.isfinite(parts.training.features).all(), "a column that never changes"


@pytest.mark.parametrize(
    ("text", "target", "why"),
    [
        ("", "kind", "is empty"),
        ("# only a note\n\n", "kind", "is empty"),
        ("a,kind\n", "kind", "a header and no rows"),
        (GOOD, "Kind", "no column 'Kind'[\\s\\S]*Did you mean 'kind'\\? Its columns: a, b, kind"),
        (GOOD, "species", "no column 'species'[\\s\\S]*Its columns: a, b, kind"),
        ("a,a,kind\n1,2,x\n", "kind", "names the column 'a' more than once"),
        ("kind\nx\ny\n", "kind", "no column besides 'kind'"),
        (GOOD + "1,2\n", "kind", "line 14: 2 cells, but the header names 3 columns"),
        (GOOD.replace("3,6,", "3,six,"), "kind", "line 5, column 'b': 'six' is not a number\\."),
        (GOOD.replace("3,6,", ",six,"), "kind", "line 5, column 'a': the cell is empty \\(1 more such cells\\)"),
        (GOOD.replace("3,6,", "nan,6,"), "kind", "line 5, column 'a': 'nan' is not a number"),
        (GOOD.replace("3,6,", "3,inf,"), "kind", "line 5, column 'b': 'inf' is not a number"),
        (GOOD.replace("3,6,", "3,1e308,"), "kind", "line 5, column 'b': '1e308' is too large"),
        (GOOD.replace("3,6,", f"3,{'6' * 200_000},"), "kind", "is not a CSV file that can be read: field larger"),
        (GOOD.replace("6,x", "6,"), "kind", "line 5: the class in column 'kind' is empty"),
        (GOOD.replace("y", "x").replace("z", "x"), "kind", "every row of 'kind' is 'x'"),
        (GOOD + "1,2,w\n", "kind", "too few rows of class 'w': 1"),
        (GOOD, "a", "too few rows|line 2, column 'kind'"),
        ("a,kind\n" + "".join(f"{i},{i * 1.5}\n" for i in range(20)), "kind", "too few rows[\\s\\S]*measured numbers"),
        ("a,kind\n" + "".join(f"{i},{i % 300}\n" for i in range(1200)), "kind", "300 classes, more than 200"),
    ],
)
def test_what_cannot_be_learnt_from_is_said(text: str, target: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why):
        load_csv(written(tmp_path, text), target)


def test_lines_are_counted_over_notes_and_broken_cells(tmp_path: Path) -> None:
    text = "# note\na,kind\n" + '1,"x\ny"\n' * 3 + "2,z\n" * 3 + "oops,z\n"
    with pytest.raises(UsageError, match="line 12, column 'a': 'oops'"):
        load_csv(written(tmp_path, text), "kind")


def test_files_that_are_not_there_or_not_text(tmp_path: Path) -> None:
    written(tmp_path, GOOD, "flowers.csv")
    with pytest.raises(UsageError, match=r"flower\.csv does not exist[\s\S]*Did you mean .*flowers\.csv\?"):
        load_csv(tmp_path / "flower.csv", "kind")
    with pytest.raises(UsageError, match="is a folder"):
        load_csv(tmp_path, "kind")
    (tmp_path / "binary.csv").write_bytes(b"a,kind\n\xff\xfe\n")
    with pytest.raises(UsageError, match="not UTF-8 text: byte 7"):
        load_csv(tmp_path / "binary.csv", "kind")


def random_table(counts: list[int], seed: int) -> Table:
    labels = np.repeat(np.arange(len(counts)), counts)
    features = np.random.default_rng(seed).normal(size=(len(labels), 3)) * [1, 100, 0] + [0, 5, 7]
    features[:, 0] = np.arange(len(labels))  # tells the rows apart
    return Table(
        name="t", features=features, labels=labels, columns=("a", "b", "c"), classes=tuple(map(str, range(len(counts))))
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(3, 40), min_size=2, max_size=5),
    st.floats(0.01, 0.49),
    st.floats(0.01, 0.49),
    st.integers(0, 2**32 - 1),
)
def test_parts_are_disjoint_complete_and_hold_every_class(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    table = random_table(counts, seed)
    parts = split(table, validation=validation, test=test, seed=seed)
    three = (parts.training, parts.validation, parts.test)
    assert sum(len(part.labels) for part in three) == len(table.labels)
    for part in three:
        assert set(part.labels) == set(range(len(counts)))
        assert part.features.dtype == np.float32
        assert np.isfinite(part.features).all()
    mean, deviation = parts.training.features.mean(axis=0), parts.training.features.std(axis=0)
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, [1, 1, 0], atol=1e-4)
    # Undone, the first column names each row exactly once.
    chosen = np.concatenate([part.features[:, 0] for part in three])
    assert len(set(chosen.tolist())) == len(table.labels)


def test_the_seed_decides_the_parts() -> None:
    table = load_table("iris")
    one, same, other = (split(table, validation=0.2, test=0.2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.test.features, same.test.features)
    assert not np.array_equal(one.test.features, other.test.features)
    assert [len(p.labels) for p in (one.training, one.validation, one.test)] == [90, 30, 30]
    assert np.bincount(one.test.labels).tolist() == [10, 10, 10]


def test_all_parts_go_through_the_one_map_that_standardises_the_training_part() -> None:
    parts = split(random_table([30, 30], 0), validation=0.2, test=0.2, seed=3)
    # The first column counts the rows: if one affine map was used for all parts, its values stay evenly spaced.
    values = np.sort(np.concatenate([p.features[:, 0] for p in (parts.training, parts.validation, parts.test)]))
    np.testing.assert_allclose(np.diff(values), values[1] - values[0], rtol=1e-3)
    assert parts.training.features[:, 0].mean() == pytest.approx(0, abs=1e-6)
    assert abs(parts.test.features[:, 0].mean()) > 1e-3, "the test part was not looked at"


@pytest.mark.parametrize(("validation", "test"), [(0.0, 0.2), (0.2, 1.0), (0.5, 0.5), (-0.1, 0.2)])
def test_parts_that_leave_nothing_are_refused(validation: float, test: float) -> None:
    with pytest.raises(UsageError, match=r"fraction|nothing to train on"):
        split(load_table("iris"), validation=validation, test=test, seed=0)
