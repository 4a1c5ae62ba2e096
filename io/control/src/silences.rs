//! Silences as people begin and end them: read from the journal, honoured by notices.
//!
//! A stream `silence/<id>` begins with `silence.begun {of: {incident?, service?, environment?}, reason,
//! until}` and may end with `silence.ended`. A silence keeps notices quiet; it never stops an action.

use trimtab_incident::Silence;
use trimtab_journal::{Journal, JournalError, StoredEvent};
use trimtab_model::{Severity, Timestamp};

/// The silences that people began and did not end; each has its own end beside.
pub(crate) async fn begun(journal: &Journal) -> Result<Vec<(String, Silence)>, JournalError> {
    let mut all = Vec::new();
    for stream in journal.streams("silence/").await? {
        let events = journal.read_stream(&stream.name, 0).await?;
        let id = stream.name.trim_start_matches("silence/").to_owned();
        all.extend(read(&events).map(|silence| (id, silence)));
    }
    Ok(all)
}

fn read(events: &[StoredEvent]) -> Option<Silence> {
    let begun = events.first().filter(|event| event.kind == "silence.begun")?;
    if events.iter().any(|event| event.kind == "silence.ended") {
        return None;
    }
    let of = begun.body.get("of")?;
    // A name that cannot be read must not widen the silence to everything.
    let named = |name: &str| of.get(name).and_then(|value| value.as_str());
    let (incident, service, environment) = (named("incident"), named("service"), named("environment"));
    Some(Silence {
        author: begun.actor.clone(),
        reason: begun.body.get("reason")?.as_str()?.to_owned(),
        from: begun.at,
        until: Timestamp(begun.body.get("until")?.as_i64()?),
        incident: incident.map(str::parse).transpose().ok()?,
        service: service.map(str::parse).transpose().ok()?,
        environment: environment.map(str::parse).transpose().ok()?,
        class: None,
        severity_max: Severity::Critical,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use serde_json::json;
    use trimtab_journal::{Expected, NewEvent};
    use trimtab_model::Actor;

    use super::*;

    #[tokio::test]
    async fn silences_are_read_as_people_wrote_them() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path().join("journal.db")).await.unwrap();
        let write = async |stream: &str, kind: &str, body: serde_json::Value| {
            let by = Actor("anna".to_owned());
            let event = NewEvent::new(format!("silence/{stream}"), kind, Timestamp(5), by, body);
            journal.append(Expected::Any, vec![event]).await.unwrap();
        };
        let of = |service: &str| json!({ "of": { "incident": null, "service": service, "environment": null }, "reason": "load test", "until": 90 });
        write("silence-1", "silence.begun", of("blocks")).await;
        write("silence-2", "silence.begun", of("search")).await;
        write("silence-2", "silence.ended", json!({})).await;
        write("silence-3", "silence.begun", of("not a name")).await;
        let known = begun(&journal).await.unwrap();
        let [(id, silence)] = known.as_slice() else {
            panic!("{known:?}")
        };
        assert_eq!(id, "silence-1");
        assert_eq!(silence.service.as_ref().unwrap().as_str(), "blocks");
        assert_eq!((silence.from, silence.until), (Timestamp(5), Timestamp(90)));
        assert_eq!(silence.author.0, "anna");
    }
}
