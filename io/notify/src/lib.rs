//! Slack, email, SMS and webhooks behind one durable outbox.
//!
//! [`Outbox::enqueue`] returns when the message is on the disk; a worker for each channel delivers it, with
//! exponential back-off, until it is taken or its attempts are used up (a dead letter, which a person can
//! [`Outbox::retry`]). Delivery is *at least once*: a process that is killed after a receiver took a message
//! and before that was written down sends it again. Email carries a `Message-ID` and webhooks an
//! `X-Trimtab-Delivery` made from the message's key, so that receivers can tell.
//!
//! The outbox takes no lock of its own: one process at a time may have it open (the journal's lock beside it
//! sees to that in `serve`).

mod backoff;
mod email;
mod error;
mod http;
mod message;
mod outbox;
mod receivers;
mod slack;
mod sms;
mod table;
mod webhook;
mod worker;

pub use backoff::Schedule;
pub use error::NotifyError;
pub use message::{Channel, Message};
pub use outbox::{Counts, Delivery, Enqueued, FORMAT, Outbox, Status};
pub use receivers::{Email, Encryption, Receivers, Slack, Sms, Webhook};
pub use trimtab_outgoing::{Secret, signature};
