"""What a sweep taught us: pure functions over one data frame with one row per run."""
