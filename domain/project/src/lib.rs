//! The project file trimtab.yaml: parsed once, every error at once, each with its place and mend.
