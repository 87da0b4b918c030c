// How the site's search ranks pages that match equally well: answers first, lists of names last.
const RANKS = {
  "reference/faq": 4,
  "reference/glossary": -2,
  "reference/rfc-conformance": -6,
  "reference/python-api": -11,
  "reference/public-api": -12,
  changelog: -12,
};

var Scorer = {
  score: ([page, , , , score]) => score + (RANKS[page] ?? (page.startsWith("how-to/") ? 2 : 0)),
  // The points of Sphinx: for a match in a name, a title or the text.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
