"""`saeviz serve`: serve a run to a browser, or a store or a run to other machines. Needs `saeviz[serve]`."""
