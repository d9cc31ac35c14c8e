"""What is in a run directory: every file, and every column of its tables that does not come from a component."""

from __future__ import annotations

from typing import NamedTuple

from saeviz.values.columns import OF_EVERY_RUN, OF_EXTRACTORS, ColumnInfo

OF_FEATURES = (
    ColumnInfo("sae", "name of the SAE or extractor, empty if the run has only one"),
    ColumnInfo("layer", "number of the block, or name of the stage"),
    ColumnInfo("tokens", "where the model is read: cls, patch-max, patch-mean, or what an extractor declares"),
    ColumnInfo("feature", "number of the feature in its space"),
)
_ITEM = ColumnInfo("item_id", "id of the image")
_RATING = ColumnInfo("rating", "name of the rating")
_LABEL = ColumnInfo("label", "name of the feature")


def _with_interval(what: str, part: str = "") -> tuple[ColumnInfo, ...]:
    return (
        ColumnInfo(f"r{part}", f"correlation {what}"),
        ColumnInfo(f"ci_low{part}", "lower end of its 95 % interval"),
        ColumnInfo(f"ci_high{part}", "upper end of its 95 % interval"),
    )


OF_ITEMS = (_ITEM, ColumnInfo("fingerprint", "changes when the picture changes; that of the extracted picture"))
OF_SCORES = (*OF_FEATURES, *(info for info in OF_EVERY_RUN if not info.name.startswith("l0.")))
OF_PAIRS = (*OF_FEATURES, _RATING)
OF_TOP_IMAGES = (
    *OF_FEATURES,
    ColumnInfo("rank", "1 for the image on which the feature fires most, up to run.top_images"),
    _ITEM,
    ColumnInfo("activation", "how strongly the feature fires on the image"),
)
OF_IMAGES = (_ITEM, *(info for info in OF_EVERY_RUN if info.name.startswith("l0.")), *OF_EXTRACTORS)
OF_SELECTED = (
    *OF_FEATURES,
    ColumnInfo("tier", "tier of the selection, 1 is best", "", "lower"),
    _LABEL,
    ColumnInfo("rating", "name of the rating for which it was selected"),
    ColumnInfo("measure", "which kind of correlation r is"),
    *_with_interval("of the feature with this rating"),
    ColumnInfo("q", "p of this correlation, adjusted for all tests of the family", "", "lower"),
    *_with_interval("corrected for having been picked because it is significant", "_corrected"),
    *_with_interval("on held-out images", "_held_out"),
    ColumnInfo("ci_low_bootstrap", "lower end of the 95 % interval of r from samples"),
    ColumnInfo("ci_high_bootstrap", "upper end of the 95 % interval of r from samples"),
    ColumnInfo("stability", "share of samples in which r is significant again, with the same sign", "", "higher"),
    ColumnInfo("selection_stability", "share of random halves of the images that select it again", "", "higher"),
    ColumnInfo("tier_stability", "share of random halves of the images with the same tier", "", "higher"),
    ColumnInfo("caveat", "what to know of the interval if the feature fires on few images"),
    ColumnInfo("reason", "why it was selected"),
)
OF_JUDGEMENTS = (
    *OF_FEATURES,
    ColumnInfo("label", "name that was judged"),
    ColumnInfo("verdict", "confirmed, fails, undecided or not judged"),
    ColumnInfo("reason", "why it was not judged"),
    ColumnInfo("n_active", "number of judged images on which the feature fires", "images"),
    ColumnInfo("n_silent", "number of judged images on which it does not, hard ones included", "images"),
    ColumnInfo("n_hard", "number of silent images that look like those on which it fires most", "images"),
    ColumnInfo("n_seen", "number of judged images that the labeler saw", "images"),
    ColumnInfo("sensitivity", "share of active images to which the name applies", "", "higher"),
    ColumnInfo("specificity", "share of silent images to which it does not", "", "higher"),
    ColumnInfo("hard_specificity", "share of hard images to which it does not", "", "higher"),
    ColumnInfo(
        "seen_sensitivity",
        "share of seen images to which the name applies; tells something about the judge, not about the name",
    ),
    ColumnInfo("balanced_accuracy", "mean of sensitivity and specificity; 0.5 is guessing", "", "higher"),
    ColumnInfo("ci_low", "lower end of its 95 % interval"),
    ColumnInfo("ci_high", "upper end of its 95 % interval"),
    ColumnInfo("auc", "area under the ROC curve of the judge's scores, which needs no threshold", "", "higher"),
)
OF_LABEL_RATINGS = (
    *OF_FEATURES,
    _LABEL,
    _RATING,
    ColumnInfo("n", "number of held-out images", "images"),
    ColumnInfo("r", "correlation of the judge's scores of the name with the rating"),
    ColumnInfo("p", "two-sided p-value of r", "", "lower"),
    ColumnInfo("ci_low", "lower end of its 95 % interval"),
    ColumnInfo("ci_high", "upper end of its 95 % interval"),
    ColumnInfo("q", "p adjusted over all names and ratings", "", "lower"),
    ColumnInfo("r_feature", "correlation of the feature with the rating, on the same images"),
    ColumnInfo("p_feature", "two-sided p-value of r_feature", "", "lower"),
    ColumnInfo("ci_low_feature", "lower end of its 95 % interval"),
    ColumnInfo("ci_high_feature", "upper end of its 95 % interval"),
    ColumnInfo("r_of_both", "correlation of the judge's scores with the feature"),
)


class Table(NamedTuple):
    """A table of the run directory: its file, what of `Run` has it, what a row is, and its columns.

    `more` says which columns components add.
    """

    file: str
    attribute: str
    row: str
    columns: tuple[ColumnInfo, ...]
    more: str = ""


TABLES = (
    Table("scores.parquet", "scores", "each feature", OF_SCORES, "columns of scorers that are about a feature alone"),
    Table(
        "correlations.parquet",
        "correlations",
        "each feature and rating, with more than 100 ratings the strongest",
        OF_PAIRS,
        "columns of scorers that are about a feature and a rating",
    ),
    Table(
        "pairs/scorer=NAME/space=SPACE/part-K.parquet",
        "pairs(rating)",
        "each feature and rating, where a scorer gives all of them",
        OF_PAIRS,
        "columns of pairs of that scorer",
    ),
    Table("top_images.parquet", "top_images(feature)", "each feature and rank", OF_TOP_IMAGES),
    Table(
        "images.parquet",
        "images_table",
        "each image",
        OF_IMAGES,
        "columns of images of scorers, and other numbers of images of extractors",
    ),
    Table("items.parquet", "fingerprints", "each image", OF_ITEMS),
    Table("selected.csv", "selected", "each selected feature, best first", OF_SELECTED),
    Table("judgements.parquet", "judgements", "each judged name", OF_JUDGEMENTS),
    Table("label_ratings.parquet", "label_ratings", "each name and rating", OF_LABEL_RATINGS),
)


class File(NamedTuple):
    """A file or folder of the run directory: what is in it, and what says in which version."""

    name: str
    what: str
    version: str = "of the run"


FILES = (
    File(
        "run.json",
        "configuration without secrets; for each stage its digest, times, counts, versions and the SHA-256 of its "
        "files; facts; what to cite",
        "`format` 1",
    ),
    File("features/", "the features, if the store keeps them in the run directory", "of the store"),
    File("embeddings/", "a `.npz` file for every 128 images: ids, fingerprints and vectors (float32)"),
    File("second_embeddings/", "the same by `[second_embeddings]`"),
    File("other_items.parquet", "as `items.parquet`, of images that earlier runs listed and the last one did not"),
    File("of_images.jsonl", "a line for each image and space with the numbers that an extractor gives of it"),
    *(File(table.file, f"a row for {table.row}") for table in TABLES),
    File(
        "labels.jsonl",
        "a line for each name: label, description, elements, why, confidence, details, `key` (a digest of all that it "
        "was made from), which images were `shown`, `earlier` names",
    ),
    File("judgements.jsonl", "a line for each judged name with every image and its score"),
    File("label_scores.jsonl", "a line for each name with its score on every held-out image"),
    File("failures.jsonl", "a line for each image or name that was left out: stage, subject, reason"),
    File("notes.jsonl", "a line for each change of a note by hand; no run changes or removes it"),
    File("log.txt", "what runs in this directory said, with tracebacks of plugins", "none: for people"),
    File(
        "shards/",
        "what workers have made and the run has not taken in yet; removed then",
        "own `format`; another one is made again",
    ),
    File("report/", "the page of the reporter `html`, with its data and pictures", "`version` in `data/run.js`"),
    File("report.html", "the same as a single file to share, if that is asked for", "`version` in it"),
    File("paper/", "what the reporter `paper` writes", "none: for people"),
    File(
        "COMPONENT/",
        "the working folder of a component, such as `labeler/`, where it keeps what it has used so far",
        "of the component",
    ),
    File(".lock", "held while a run writes", ""),
    File(".notes.lock", "held while a note is written", ""),
)
