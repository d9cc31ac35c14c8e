"""`saeviz serve`: a store or a run for other machines, and a report for the browser. Needs `saeviz[serve]`."""
