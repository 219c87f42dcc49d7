"""Models by name and models trained by runs: loaded, exported, combined, downloaded."""
