"""Which columns of a table are ratings: by their names, by what is in them, and how their numbers are written."""

from __future__ import annotations

import json

import pytest

import saeviz
from saeviz.toolkit.numbers import Reading
from saeviz.toolkit.ratings import Columns, choose, choose_rating_columns
from saeviz.toolkit.tables import read_table

RATED = [3.5, 1.25, 6.0, 2.75, 4.0, 4.0]


def chosen(names: str, *, sep: str = " ") -> list[str]:
    """The rating columns of a table with these columns, each of the same numbers."""
    return list(choose(dict.fromkeys(names.split(sep), RATED), None, (), "t.csv").ratings)


def of(cells: list, name: str = "liked", **others: list) -> Columns:
    return choose({name: cells, **others}, None, (), "t.csv")


def numbers(cells: list, **others: list) -> list[float | None]:
    columns = of(cells, **others)
    assert "liked" in columns.ratings, columns.notes
    return [columns.ratings["liked"].number(cell) for cell in cells]


# -- statistics of another column -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "ratings"),
    [
        ("Valence_mean Valence_SD Valence_N Arousal_mean Arousal_SD Arousal_N", "Valence_mean Arousal_mean"),
        ("valence SD_valence N_valence", "valence"),
        ("valence sd.valence n.valence", "valence"),
        ("valence valence_sd valence_std valence_se valence_sem valence_var valence_iqr", "valence"),
        ("valence valence_min valence_max valence_median valence_count valence_range", "valence"),
        ("valence valence_CI_low valence_CI_high valence_ci95_lower valence_95_CI_upper valence_lci", "valence"),
        ("val valsd", "val"),
        ("valence valsd", "valence"),
        ("valmn valsd valn aromn arosd dom1mn dom1sd", "valmn aromn dom1mn"),
        ("ValMean ValSD ValN", "ValMean"),
        ("valenceMean valenceStd valenceCount", "valenceMean"),
        ("M_valence SD_valence", "M_valence"),
        ("mean_valence std_valence min_valence", "mean_valence"),
        ("Valence_rating Valence_sd", "Valence_rating"),
        ("val_mean valence_sd", "val_mean"),
        ("Valence_mean_men Valence_SD_men Valence_N_men Valence_mean_women", "Valence_mean_men Valence_mean_women"),
        ("Valence_median Valence_iqr Valence_min Valence_max", "Valence_median"),
        ("mean sd n", "mean"),
        ("Valence Valence_SD Valence_Standardabweichung Valence_Anzahl", "Valence"),
        ("belleza_media belleza_desviacion_estandar belleza_mediana", "belleza_media"),
        ("valence_μ valence_\u03c3 ±valence", "valence_μ"),
        ("beauty beauty_2.5% beauty_97.5%", "beauty"),
        ("count mean std min 25% 50% 75% max", "mean"),
        ("valence valence_CoV valence_n_valid valence_nunique valence_missing", "valence"),
        ("score score_stdev score_numvotes n_comparisons", "score"),
        ("mean_score count_1 count_2 count_3 count_4 count_5", "mean_score"),
        ("MOS std CI95", "MOS"),
        ("V VSD A ASD", "V A"),
        ("valence valence_low valence_high", "valence"),
        ("valence_mean valence_lo valence_hi", "valence_mean"),
        ("valence valence_l95 valence_u95", "valence"),
        ("beauty beauty_nratings", "beauty"),
        ("rating sd n", "rating"),
        ("beauty n_raters num_votes", "beauty"),
        ("Valence_SD Arousal_SD", ""),
    ],
)
def test_what_is_said_of_another_column_is_no_rating(names, ratings):
    assert chosen(names) == ratings.split()


@pytest.mark.parametrize(
    ("names", "ratings"),
    [
        ("Valence|Valence (SD)|Valence (N)|Valence [95% CI]", "Valence"),
        ("Valence Mean|Valence Std. Deviation|Valence Std. Error of Mean", "Valence Mean"),
        ("Valence|Standard deviation of Valence|Valence - SD", "Valence"),
        ("Schönheit|Schönheit SD|SD Schönheit", "Schönheit"),
        ("好き|好き_sd|好き_n", "好き"),
    ],
)
def test_names_with_spaces_and_signs_are_told_apart_as_well(names, ratings):
    assert chosen(names, sep="|") == [ratings]


@pytest.mark.parametrize(
    "names",
    [
        "X-appeal sdorn maximal minimal median_income n_people",
        "valence_sd beauty",
        "brow brown",
        "open opens women woman golden",
        "liking n",
        "appeal appealing",
        "sd",
        "valence arousal dominance",
        "rater_1 rater_2 judge1",
        "happy_1 happy_2",
        "Q1 Q2 Q10",
        "M F",
        "grid valid idea android",
        "count_of_monte_cristo",
        "nice ugly_min",
        "low high",
        "key key_low",
        "low_light high_light",
    ],
)
def test_a_real_rating_stays_one_whatever_its_name_sounds_like(names):
    assert chosen(names) == names.split()


def test_what_is_left_out_is_named_with_the_reason_and_may_be_named_by_the_user():
    table = dict.fromkeys(("Valence_mean", "Valence_SD", "Valence_N"), RATED)
    (note,) = choose(table, None, (), "t.csv").notes
    assert note == (
        "t.csv: Valence_SD, Valence_N look like spreads, counts or other statistics of Valence_mean, not like ratings; "
        "name them in images.rating_columns to change that"
    )
    named = choose(table, ["Valence_SD"], (), "t.csv")
    assert list(named.ratings) == ["Valence_SD"]
    assert (named.metadata, named.notes) == (["Valence_mean", "Valence_N"], [])


# -- row numbers, ids, times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cells", "what"),
    [
        ("Unnamed: 0", [5, 7, 9], "row number"),
        ("Unnamed: 0.1", [0, 1, 2], "row number"),
        ("...1", ["1", "2", "3"], "row number"),
        ("X", [1, 2, 3], "row number"),
        ("X.1", [0, 1, 2], "row number"),
        ("level_0", [0, 1, 2], "row number"),
        ("index", [4, 2, 9], "row number"),
        ("rownames", ["1", "2", "3"], "row number"),
        ("Nr.", [3, 2, 1], "row number"),
        ("x", [3, 1, 2], "row number"),
        ("id", [4, 4, 4], "id"),
        ("imageID", [1000, 1004, 1002], "id"),
        ("image_id", ["7", "8", "9"], "id"),
        ("ParticipantId", [1, 1, 2], "id"),
        ("raterid", [1, 1, 2], "id"),
        ("subject", [1, 1, 2], "id"),
        ("participant_nr", [1, 1, 2], "id"),
        ("PROLIFIC_PID", [9, 9, 1], "id"),
        ("stimulus", [1001, 1002, 1004], "id"),
        ("IAPS", [1019, 1050, 1040], "id"),
        ("pictureNumber", [7, 9, 4], "id"),
        ("timestamp", [3, 4, 5], "time"),
        ("created_at", [3.5, 4, 5], "time"),
        ("when", [1700000000, 1700000100, 1710000000], "time"),
        ("when", [1700000000000, 1700000100000, 1710000000000], "time"),
        ("day", [20210503, 20211231, 20200101], "time"),
    ],
)
def test_row_numbers_ids_and_times_are_no_ratings(name, cells, what):
    columns = of(cells, name, liked=[1, 3, 2])
    assert list(columns.ratings) == ["liked"]
    (note,) = columns.notes
    assert note.startswith(f"t.csv: {name} looks like a")
    assert f" {what}, not like a rating" in note


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("X", [1, 2, 2]),
        ("x", [3.5, 1.5, 2.5]),
        ("index", [1.5, 2, 3]),
        ("beauty_index", [1, 2, 3]),
        ("order", [1, 2, 3]),
        ("photo", [5, 5, 6]),
        ("person", [1, 2, 3]),
        ("valid", [1, 2, 3]),
        ("rater_1", [1, 2, 3]),
        ("liked", [0, 1, 2]),
        ("time_pressure", [1, 2, 3]),
        ("year", [1900, 1950, 2001]),
    ],
)
def test_names_and_numbers_have_to_fit_both(name, cells):
    assert list(of(cells, name).ratings) == [name]


# -- how numbers are written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["3,5", "2", "4,25"], [3.5, 2, 4.25]),
        (["1.234,5", "987,25", "1.000"], [1234.5, 987.25, 1000]),
        (["1,234.5", "987.25", "1,000"], [1234.5, 987.25, 1000]),
        (["0,125", "1,234", "3,000"], [0.125, 1.234, 3.0]),
        (["1.806", "3.833", "2.500"], [1.806, 3.833, 2.5]),
        (["1 234", "2\u00a0345,5", "3\u202f000"], [1234, 2345.5, 3000]),
        (["1'234.5", "1\u2019000"], [1234.5, 1000]),
        (["\u22122.5", "-1", "\u20133"], [-2.5, -1, -3]),
        (["5%", "12 %", "7.5%"], [5, 12, 7.5]),
        (["\uff13", "\uff14\uff0e\uff15", "\u0663"], [3, 4.5, 3]),
        (["3.5", "2,5", "4"], [3.5, 2.5, 4]),
        (["3.5", "2,5", "1,234"], [3.5, 2.5, None]),
        (["1 - not at all", "4", "5", "7 \u2013 very much"], [1, 4, 5, 7]),
        (["1 = not at all", "4", "5", "7 (very much)", "7: very"], [1, 4, 5, 7, 7]),
        ([" 3 ", "\u00a04\u00a0", "5\u200b", "1e1", "+2", ".5", "5."], [3, 4, 5, 10, 2, 0.5, 5]),
        ([3, 2.5, "1,5", None, float("nan"), True], [3, 2.5, 1.5, None, None, None]),
        (["1", "2", "9" * 400, "1e999", "8.98846567431158e+307", "1.7014118346046923e+38"], [1, 2] + [None] * 4),
    ],
)  # fmt: skip
def test_numbers_are_read_as_they_are_written(cells, values):
    if len(cells) > 5:
        cells, values = [*cells, *["3"] * 6], [*values, *[3.0] * 6]
    assert numbers(cells) == values


def test_what_could_mean_two_numbers_is_refused_by_name_unless_the_table_says_which():
    cells = ["1,234", "2,345", "3,456"]
    columns = of(cells)
    assert not columns.ratings
    assert "'liked' is not read as a rating: '1,234' may be a decimal or a thousand" in columns.notes[0]
    with pytest.raises(saeviz.ConfigError, match="may be a decimal or a thousand"):
        choose({"liked": cells}, ["liked"], (), "t.csv")
    assert numbers(cells, calm=["3.5", "2", "1"]) == [1234, 2345, 3456]
    assert numbers(cells, calm=["3,5", "2", "1"]) == [1.234, 2.345, 3.456]
    semicolons = choose({"liked": cells}, None, (), "t.csv", ";")
    assert [semicolons.ratings["liked"].number(cell) for cell in cells] == [1.234, 2.345, 3.456]


@pytest.mark.parametrize(
    "cells",
    [["3 stars", "4 stars"], ["$3.50", "\u20ac4"], ["7/10", "3/10"], ["3-4", "4-5"], ["good (5)", "bad (1)"], ["5 kg"],
     ["very much = 7"]],
)  # fmt: skip
def test_numbers_in_a_spelling_that_is_not_read_are_refused_by_name(cells):
    columns = of(cells)
    assert not columns.ratings
    assert columns.notes[0].startswith(f"t.csv: 'liked' is not read as a rating: {cells[0]!r} is not in a supported")


@pytest.mark.parametrize("cells", [["2021-05-03"], ["Acorns 1", "Acorns 2"], ["a.jpg", "001.jpg"], ["I1", "I2"], ["x"]])
def test_words_with_digits_are_no_numbers(cells):
    columns = of(cells, calm=[1] * len(cells))
    assert (list(columns.ratings), columns.metadata, columns.notes) == (["calm"], ["liked"], [])


def test_numbers_with_words_are_metadata_until_they_are_named():
    cells = ["1 - animal", "2 - person", "3 - object"]
    columns = of(cells)
    assert (list(columns.ratings), columns.metadata) == ([], ["liked"])
    assert "'liked' has text after its numbers, such as '1 - animal'" in columns.notes[0]
    named = choose({"liked": cells}, ["liked"], (), "t.csv")
    assert [named.ratings["liked"].number(cell) for cell in cells] == [1, 2, 3]


# -- missing values -------------------------------------------------------------------------------------------------

WORDS = [
    *("NA", "N/A", "n/a", "#N/A", "null", "NULL", "None", "nan", "NaN", ".", "-", "--", "?", "missing", ".a", ".z"),
    *("<NA>", "n.a."),
]


@pytest.mark.parametrize("word", ["", "  ", "\u2013", "\u00a0", *WORDS])
def test_a_missing_value_is_missing_however_it_is_written(word):
    cells = ["3", word, word, word, "5"]
    columns = of(cells)
    assert numbers(cells) == [3, None, None, None, 5]
    assert columns.notes == []


def test_a_column_with_some_numbers_that_is_no_rating_is_named():
    columns = of(["3", "good", "bad", "worse"], title=["A", "B", "C", "D"])
    assert columns.metadata == ["liked", "title"]
    assert columns.notes[0] == (
        "t.csv: 'liked' (1 of 4 values are numbers, others are like 'good') is not read as a rating, because at most "
        "half of the values are numbers; name it in images.rating_columns to change that"
    )


def test_a_column_that_is_empty_is_named():
    assert of(["NA", "", None], calm=[1, 2, 3]).notes == ["t.csv: without any value: liked"]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([1, 7, 3, -99, 4, -99], "-99 (2 times)"),
        ([1, 7, 3, 999, 4], "999 (once)"),
        (["1", "7", "3", "99", "-9"], "-9 (once) and 99 (once)"),
        ([1.5, 6.25, 3.0, -999.0], "-999 (once)"),
        ([0, 55, 100, -9], "-9 (once)"),
    ],
)
def test_codes_for_missing_values_are_refused_by_name(cells, said):
    columns = of(cells, calm=[1] * len(cells))
    assert list(columns.ratings) == ["calm"]
    assert f"'liked' is not read as a rating: {said} looks like a code for a missing value" in columns.notes[0]
    named = choose({"liked": cells}, ["liked"], (), "t.csv")
    assert named.ratings["liked"].number(cells[0]) is not None
    assert said in named.notes[0]


@pytest.mark.parametrize(
    "cells", [[0, 55, 99, 98], [-100, -99, 3, 50], [90, 99, 95, 80], [-9, -3, 4, 9], [300, 777, 999], [99, 99], [1, -1]]
)
def test_numbers_among_their_like_are_no_codes(cells):
    assert list(of(cells).ratings) == ["liked"]


# -- what is no single value ----------------------------------------------------------------------------------------

NESTED = {
    "lists": [[1.0, 2.0], None, [3.0]],
    "structures": [{"a": 1}, {"a": 2}, None],
    "bytes": [b"\xff\xd8secret", b"\xff\xd8secret", b"\xff\xd8secret"],
    "pictures": [{"bytes": b"\xff\xd8secret", "path": "a.jpg"}] * 3,
    "lists of numbers": ["[" + ", ".join(["0.12345"] * 64) + "]"] * 3,
}


@pytest.mark.parametrize("kind", NESTED)
def test_what_is_no_single_value_is_neither_rating_nor_metadata(kind):
    columns = of(NESTED[kind], "vector", liked=[1, 2, 3], title=["A", "B", "C"])
    assert (list(columns.ratings), columns.metadata) == (["liked"], ["title"])
    assert columns.notes == [f"t.csv: not read, because they are not single values: 'vector' ({kind})"]
    if kind != "lists of numbers":
        with pytest.raises(saeviz.ConfigError, match=r"'vector' of t\.csv has no numbers") as caught:
            choose({"vector": NESTED[kind]}, ["vector"], (), "t.csv")
        assert "secret" not in str(caught.value)


def test_a_table_and_its_records_are_judged_alike(tmp_path):
    rows = [{"file": f"{i}.jpg", "liked": f"{i},5", "liked_sd": 0.1 * i, "X": i, "tags": ["a"]} for i in range(5)]
    path = tmp_path / "r.json"
    path.write_text(json.dumps(rows))
    table = read_table(path)
    columns = choose_rating_columns(table, None, {"file"})
    assert (list(columns.ratings), columns.metadata) == (["liked"], ["liked_sd", "X"])
    assert table.notes == ["r.json: not read, because they are not single values: 'tags' (lists)"]
    assert columns.split({**rows[2]}) == ({"liked": 2.5}, {"liked_sd": "0.2", "X": "2"})


def test_a_number_by_itself_has_a_decimal_point():
    assert [Reading().number(cell) for cell in ("1.5", "1,5", True, 3)] == [1.5, None, None, 3.0]


# -- other spellings of the same things -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["n", "N", "count", "votes"])
def test_a_bare_count_is_no_rating_where_it_can_be_one_of_raters(name):
    raters = [31, 28, 30, 31, 29, 40]
    assert list(of(RATED, **{name: raters}).ratings) == ["liked"]
    assert list(of(RATED, **{name: [1, 2, 1, 3, 2, 1]}).ratings) == ["liked", name]
    assert list(choose({name: raters}, None, (), "t.csv").ratings) == [name]


@pytest.mark.parametrize("name", ["..1", "V1", "Column1", "S.No", "Sr No", "serial", "rn"])
def test_row_numbers_of_other_programs_are_no_ratings(name):
    assert list(of(RATED, **{name: [1, 2, 3, 4, 5, 6]}).ratings) == ["liked"]


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("begun", [1.7e9 + 77.25 * step for step in range(6)]),
        ("StartDate", [45000 + step for step in range(6)]),
        ("submit_time", [3.5, 2.0, 1.0, 4.0, 5.0, 2.5]),
    ],
)
def test_times_with_fractions_and_days_of_spreadsheets_are_no_ratings(name, times):
    assert list(of(RATED, **{name: times}).ratings) == ["liked"]


@pytest.mark.parametrize("code", [-7777, 32767, -32768, 2147483647, 96, 666])
def test_codes_of_other_programs_make_no_rating(code):
    columns = of([1, 2, 3, 4, 5, 6, 7, 3, code])
    assert not columns.ratings
    assert any(str(code) in note for note in columns.notes)


@pytest.mark.parametrize("cell", ["3.2±0.4", "3.2 (0.4)", "3.2 [2.9, 3.5]", "3 of 7", "3 out of 7"])
def test_two_numbers_in_a_cell_are_named(cell):
    columns = of([cell] * 4, other=RATED[:4])
    assert list(columns.ratings) == ["other"]
    assert any("'liked' is not read as a rating" in note for note in columns.notes)


@pytest.mark.parametrize("sign", ["#VALUE!", "#DIV/0!", "sysmis", "(missing)", "[NA]", "k.A."])
def test_more_signs_for_nothing(sign):
    assert numbers(["1", sign, "2.5", sign, sign, sign]) == [1, None, 2.5, None, None, None]


def test_a_dash_of_any_length_stands_before_words():
    columns = choose({"liked": ["7 \u2013 much", "1 \u2014 little"]}, ["liked"], (), "t.csv")
    assert [columns.ratings["liked"].number(cell) for cell in ("7 \u2013 much", "1 \u2014 little")] == [7, 1]
