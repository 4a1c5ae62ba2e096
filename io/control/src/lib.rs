//! Receive, step, journal, carry out effects, for every machine.
