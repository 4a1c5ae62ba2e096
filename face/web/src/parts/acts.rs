//! Buttons that change something: forms that work without scripts, each with its session's token,
//! shown only to those whose role allows them.

use maud::{Markup, html};
use trimtab_api::routes::{self, Access, Method, fill};

use crate::pages::Page;
use crate::text::{Text, say};

/// How a button looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Primary,
    Plain,
    Grave,
}

/// A button for the form `/do/<verb>/{id}`; nothing when the role does not do.
pub(crate) fn act(page: &Page, verb: &str, id: &str, text: Text, weight: Weight) -> Markup {
    act_with(page, verb, id, text, weight, html! {})
}

/// As [`act`], with further fields. It opens to ask for a comment first: that is the confirmation.
pub(crate) fn act_with(
    page: &Page,
    verb: &str,
    id: &str,
    text: Text,
    weight: Weight,
    fields: Markup,
) -> Markup {
    let pattern = format!("/do/{verb}/{{id}}");
    if !allowed(page, &pattern) {
        return html! {};
    }
    let class = match weight {
        Weight::Primary => "button primary",
        Weight::Plain => "button",
        Weight::Grave => "button grave",
    };
    let name = page.say(text);
    html! {
        details.act {
            summary class=(class) { (name) }
            form.act-form method="post" action=(fill(&pattern, &[id])) {
                input type="hidden" name="csrf" value=(page.csrf);
                input type="hidden" name="back" value=(page.look.target);
                label { (page.say(say::COMMENT))
                    input type="text" name="comment" maxlength="2000" placeholder=(page.say(say::COMMENT_HINT));
                }
                (fields)
                button class=(class) type="submit" { (page.say(say::CONFIRM)) ": " (name) }
            }
        }
    }
}

/// A small button that acts at once.
pub(crate) fn quick(page: &Page, verb: &str, id: &str, text: Text) -> Markup {
    let pattern = format!("/do/{verb}/{{id}}");
    if !allowed(page, &pattern) {
        return html! {};
    }
    html! {
        form.quick method="post" action=(fill(&pattern, &[id])) {
            input type="hidden" name="csrf" value=(page.csrf);
            input type="hidden" name="back" value=(page.look.target);
            button.small type="submit" { (page.say(text)) }
        }
    }
}

fn allowed(page: &Page, pattern: &str) -> bool {
    match routes::find(Method::Post, pattern).map(|route| route.access) {
        Some(Access::Role(role)) => page.may(role),
        _ => false,
    }
}
