//! The catalogue of messages.

macro_rules! messages {
    ($table:ident: $($name:ident = $en:literal, $ru:literal;)*) => {
        $(pub(crate) const $name: crate::text::Text = crate::text::Text { en: $en, ru: $ru };)*
        /// Every message of this file, for the tests.
        #[cfg(test)]
        pub(crate) const $table: &[(&str, crate::text::Text)] = &[$((stringify!($name), $name)),*];
    };
}

mod pages;
mod shell;
mod states;

pub(crate) use pages::*;
pub(crate) use shell::*;
pub(crate) use states::*;
