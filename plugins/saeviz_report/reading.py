"""How to read the numbers of a report, term by term, for what a run has."""

from __future__ import annotations

from collections.abc import Iterator

import saeviz
from saeviz_report.method import Method
from saeviz_report.text import plain

Term = tuple[str, str]


def reading(run: saeviz.Run, method: Method) -> list[Term]:
    """Terms and what they mean; terms of what the run has not are left out."""
    return [*_FEATURES, *_correlations(method), *_after_selection(run, method), *_SELECTION, *_names(run)]


_FEATURES: tuple[Term, ...] = (
    (
        "Feature",
        "One unit of a sparse autoencoder that was trained on the activations of one layer of the vision model. "
        "layer8.patch-max/1312 is unit 1312 of layer 8; cls reads it at the class token, patch-max and patch-mean pool "
        "it over the image's patches. It is active on an image if it is above zero.",
    ),
    (
        "MS, monosemanticity",
        "How alike the images are on which the feature fires: the mean cosine similarity of all pairs of different "
        "images in an embedding that is independent of the model, each pair weighted by the product of the two "
        "activations; by default over the 20 images where it fires most. Near 1, the images show one clear thing; as "
        "low as random pairs of this data set, they have nothing in common.",
    ),
    (
        "Classes and cut-offs",
        "Monosemantic, moderate and polysemantic are effect sizes, not tests of significance. They depend on the "
        "embedding and on the data set: compare with the mean similarity of random pairs in this run, given in the "
        "overview if the scorer measured it.",
    ),
    (
        "q of MS",
        "The null hypothesis assigns the feature's weights to random images of this run. p is the share of such draws "
        "in which the images are at least as alike; q adjusts it by Benjamini and Hochberg over all features of the "
        "run. A small q says that the feature's images are more alike than chance, not that they show one thing: for "
        "that see the size of MS.",
    ),
)
_SELECTION: tuple[Term, ...] = (
    (
        "Fires together with",
        "Features, also of other layers and tokens, whose activations correlate with this one's over the images so "
        "strongly that they count as copies of it, if the run used the scorer redundancy.",
    ),
    (
        "Tier",
        "By the selector of this run. The one that comes with saeviz assigns tier 1 to a feature that is monosemantic "
        "and correlates with a rating, tier 2 to one that is moderately monosemantic or moderately correlated, tier 3 "
        "to a sample of the rest.",
    ),
    (
        "Name and confidence",
        "Given by the labeler from the images where the feature fires most. Confidence is the labeler's own measure, "
        "from 0 to 1, and is comparable only within one labeler.",
    ),
)
_JUDGED: Term = (
    "Is the name right?",
    "A judge who is given only the words is shown images that the labeler did not see. On half of them the feature "
    "fires with at least a quarter of its maximum; on the other half it is silent, and half of these are look-alikes: "
    "the images most similar to its top images. Balanced accuracy is the mean of the share found and the share "
    "rejected; 0.5 is chance, 1 is perfect. The interval is a 95 % interval. Confirmed: all of it is above chance. "
    "Fails: it includes chance and ends below 0.75. Undecided: anything else. Not judged: there were too few images, "
    "or the judge has no power in this run, so it neither confirms nor strikes out any name. Too broad: the judge says "
    "that the name also applies to more than half of the look-alikes, so it is less specific than the feature.",
)
_PREDICTS: Term = (
    "Does the name predict the rating?",
    "The judge scores the name on a random sample of images that were used neither to find relations nor to name "
    "features. r of the name is the correlation of these scores with the rating, r of the feature that of the "
    "activation on the same images. Intervals are 95 % intervals; q is p adjusted over all names and ratings "
    "(Benjamini and Hochberg). If the name's r is much smaller, the feature responds to something that the name does "
    "not describe.",
)


def _names(run: saeviz.Run) -> Iterator[Term]:
    yield _JUDGED
    if len(run.label_ratings):
        yield _PREDICTS


def _correlations(method: Method) -> Iterator[Term]:
    held = [
        f" {method.measures[prefix]}: a linear effect of the variables held constant is removed from both."
        for prefix in method.held_constant
    ]
    yield (
        "r",
        f"{method.meaning}, over the images that have both. Positive: images on which it fires more were rated higher. "
        f"It does not say that the feature causes the rating.{''.join(held)}",
    )
    yield _dependence(method)
    if caveat := method.caveat(0):
        normal = "A 95 % interval assumes that feature and rating are roughly normal. "
        yield ("Intervals of rare features", f"{'' if method.errors == 'hc2' else normal}The {caveat}.")
    yield (
        "q, significant",
        f"The p-value of r, {method.adjustment}. {method.promise}{' ' * bool(method.promise)}A feature or rating that "
        "never varies has no r, and a feature that is active on too few images has no q: these are not tested.",
    )


def _dependence(method: Method) -> Term:
    if method.n_groups is None:
        alike = " They also put look-alikes into both halves of the images, which makes replication weaker evidence."
        return (
            "Independent images",
            "p, q and intervals assume that the images are independent of one another. Several images of one scene, "
            "series, artist or photographer are not: they make every p and q smaller and every interval shorter than "
            f"it should be.{alike if method.any_held_out else ''}",
        )
    how = (
        "they come from permuting ratings within groups, or between whole groups if a rating is the same for all "
        "images of a group. There is no interval."
        if method.is_permuted
        else "they are robust to clusters (CR2 with Satterthwaite's degrees of freedom), and groups are assumed to be "
        "independent of one another. A feature that varies in a single group has no p."
    )
    figures = "p and q" if method.is_permuted else "p, q and intervals"
    return (
        "Images in groups",
        f"The images belong to {plain(method.n_groups)} groups, and those of one group may be alike. {figures} of "
        f"{method.measure} allow for that: {how}",
    )


def _after_selection(run: saeviz.Run, method: Method) -> Iterator[Term]:
    if method.has_held_out:
        share = f", a share of {plain(method.share_found_on)} drawn at random" if method.share_found_on else ""
        yield (
            "Held-out r, replicated",
            f"Relations were found on a part of the images{share}: r, its interval, p and q above are computed on "
            "these. What was significant there was tested again on all others. Replicated means that r has the same "
            "sign on them and its p, adjusted over what was tested again, is below the same bound. The r by which a "
            "feature was found is inflated by the selection, the held-out one is not: quote the latter.",
        )
    if method.any_corrected:
        yield (
            "Corrected r",
            "An r that is shown because it is significant is too large on average. The corrected r is the most likely "
            "r, given that the relation was significant and how strong it looked, with a 95 % interval that holds for "
            "significant relations (Zhong and Prentice 2008). Far beyond the threshold of significance nothing "
            "changes. Quote this r, unless images were held out.",
        )
    if method.margin is not None:
        yield (
            "Detectable |r|",
            "The true r that a study of this size finds significant in 80 of 100 cases, at the threshold of "
            "significance of this run. Weaker relations are mostly missed: if nothing is significant, there may still "
            "be weaker relations.",
        )
        yield (
            f"Shown to be |r| < {plain(method.margin)}",
            "Tested features whose relation is shown to be this weak, by two one-sided tests adjusted like the others. "
            "Features that are neither significant nor among these are undecided.",
        )
    if "stability" in run.correlations:
        yield (
            "Stability",
            "Images, or whole groups of them, are repeatedly drawn with replacement from those of this run. stability "
            "is the share of these samples in which the relation is significant again, with the same sign; "
            "ci_low_bootstrap and ci_high_bootstrap are a 95 % interval of r from the same samples (BCa). A relation "
            "that is just significant has a stability of about a half.",
        )
    corrected = ", for r those of the column corrected r" if method.any_corrected else ""
    yield (
        "Selected features are the extremes",
        f"They were chosen for large values on these images, so expect somewhat smaller ones on new images{corrected}.",
    )
