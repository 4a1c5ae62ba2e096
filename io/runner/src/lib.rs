//! Job processes: checkout, steps, artifacts.
