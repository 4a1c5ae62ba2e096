//! What people read, in English and Russian. A [`Text`] has both by its type, so neither can be
//! forgotten. What services, commits and the machines say is shown as it is.

mod numbers;
pub(crate) mod say;

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

pub(crate) use numbers::{Shown, bytes, clock, count, day_and_clock, duration_ms, figure, number, percent};

use crate::auth::cookie;

/// Name of the cookie that remembers the language.
pub(crate) const LANGUAGE_COOKIE: &str = "trimtab_language";

/// A language of the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    English,
    Russian,
}

impl Language {
    /// Both.
    pub(crate) const ALL: [Language; 2] = [Language::English, Language::Russian];

    /// `en` or `ru`.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Russian => "ru",
        }
    }

    /// Its name in itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::Russian => "Русский",
        }
    }

    pub(crate) fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }

    /// By the cookie, else the first of Accept-Language that is spoken here, else English.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if let Some(chosen) = cookie(headers, LANGUAGE_COOKIE).and_then(Self::from_code) {
            return chosen;
        }
        let accepted = headers
            .get(ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let mut wishes: Vec<(f32, &str)> = accepted.split(',').take(20).map(wish).collect();
        wishes.sort_by(|a, b| b.0.total_cmp(&a.0));
        wishes
            .iter()
            .find_map(|(_, code)| Self::from_code(code))
            .unwrap_or(Language::English)
    }

    /// The text in this language.
    pub(crate) fn say(self, text: Text) -> &'static str {
        match self {
            Language::English => text.en,
            Language::Russian => text.ru,
        }
    }

    /// The text with each `{}` replaced in order.
    pub(crate) fn fill(self, text: Text, values: &[&str]) -> String {
        let mut pieces = self.say(text).split("{}");
        let mut out = pieces.next().unwrap_or_default().to_owned();
        for (index, piece) in pieces.enumerate() {
            out.push_str(values.get(index).copied().unwrap_or_default());
            out.push_str(piece);
        }
        out
    }
}

/// `ru-RU;q=0.8` as its weight and its primary code.
fn wish(text: &str) -> (f32, &str) {
    let (tag, rest) = text.trim().split_once(';').unwrap_or((text.trim(), ""));
    let quality = rest
        .trim()
        .strip_prefix("q=")
        .map_or(1.0, |q| q.parse().unwrap_or(0.0));
    (quality, tag.split('-').next().unwrap_or_default())
}

/// A text in every language.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    pub(crate) en: &'static str,
    pub(crate) ru: &'static str,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn language(cookie: Option<&str>, accept: &str) -> Language {
        let mut headers = HeaderMap::new();
        if let Some(cookie) = cookie {
            headers.insert("cookie", format!("{LANGUAGE_COOKIE}={cookie}").parse().unwrap());
        }
        headers.insert(ACCEPT_LANGUAGE, accept.parse().unwrap());
        Language::of(&headers)
    }

    #[test]
    fn the_language_is_chosen_then_wished_then_english() {
        assert_eq!(language(None, "ru-RU,ru;q=0.9,en;q=0.8"), Language::Russian);
        assert_eq!(language(None, "de, en;q=0.5, ru;q=0.4"), Language::English);
        assert_eq!(language(None, "en;q=0.1,ru;q=0.9"), Language::Russian);
        assert_eq!(language(Some("en"), "ru"), Language::English);
        assert_eq!(language(Some("xx"), "junk;;;q=,"), Language::English);
    }

    #[test]
    fn texts_are_filled_in_order() {
        let text = Text {
            en: "{} of {}",
            ru: "{} из {}",
        };
        assert_eq!(Language::Russian.fill(text, &["1", "2"]), "1 из 2");
        assert_eq!(Language::English.fill(text, &["1"]), "1 of ");
    }

    #[test]
    fn every_text_is_said_in_both_with_the_same_places() {
        for (name, text) in [say::SHELL, say::STATES, say::PAGES].into_iter().flatten() {
            assert!(!text.en.is_empty() && !text.ru.is_empty(), "{name}");
            assert_eq!(
                text.en.matches("{}").count(),
                text.ru.matches("{}").count(),
                "{name}"
            );
        }
    }
}
