//! The reverse proxy: one routing table, swapped whole.
