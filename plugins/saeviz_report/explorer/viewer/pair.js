// Two runs served side by side: from a feature to the one of the other run that belongs to it.
"use strict";

{
  const { el, said, signed, fill } = saeviz;
  const AGAIN = 3000; // milliseconds until it is asked again whether the runs are compared

  /** The way to the comparison, at the top of the page; null where one run is served. */
  saeviz.comparisonLink = () => (saeviz.live?.about.other ? el("a", { href: "../" }, "Compared with ", said(saeviz.live.about.other, 60)) : null);

  /** The part of a card with the feature of the other run; null where one run is served. */
  saeviz.partnerOnCard = (features, row) => {
    if (!saeviz.live?.about.other) return null;
    const box = el("p", { role: "status" }, "…");
    const show = async () => {
      try {
        const { other } = await saeviz.live.get("partner", { feature: features.name(row) });
        fill(box, told(other));
        if (other.state === "comparing") setTimeout(() => box.isConnected && show(), AGAIN);
      } catch (error) {
        fill(box, said(error.message, 400));
      }
    };
    show();
    return el("section", {}, el("h3", {}, "In ", said(saeviz.live.about.other, 60)), box);
  };

  function told({ viewer, state, why, partner }) {
    if (state === "comparing") return "The runs are being compared…";
    if (state === "failed") return ["The runs cannot be compared: ", said(why, 400)];
    if (!partner) return "No feature there fires on the same images.";
    const address = `${viewer}#feature=${encodeURIComponent(partner.feature)}`;
    const how = partner.r === null ? "the same feature" : ["r ", signed(partner.r), partner.mutual ? ", each the closest of the other" : ", the closest to it, though that one has a closer partner"];
    return [el("a", { href: address }, partner.label ? [el("strong", {}, said(partner.label, 80)), " "] : null, el("span", { class: "id" }, said(partner.feature, 80))), el("span", { class: "note" }, " (", how, ")")];
  }
}
