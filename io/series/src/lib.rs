//! The metric store: write-ahead log, head, compressed blocks.
