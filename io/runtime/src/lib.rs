//! Instances of a release and the shim that keeps each.
