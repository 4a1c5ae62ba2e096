//! What pipeline steps and instances share as children of Trimtab: the user they run as, and secrets taken out of
//! what they print.
//!
//! A leaf: it uses no other room. Deliberately absent: starting and ending processes, which the two do differently.

mod mask;
pub mod user;

pub use mask::Masker;
