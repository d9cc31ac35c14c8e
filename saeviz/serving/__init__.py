"""`saeviz serve`: serve a store or a run to other machines, or a report to a browser. Needs `saeviz[serve]`."""
