"""The Ray under a sweep: found or started, watched, ended."""
