//! Several services released together.

use anyhow::{Result, bail};
use trimtab_api as api;
use trimtab_api::routes::fill;

use super::client::{Client, read};
use super::print::{Printer, clean, columns};
use super::rollouts::done;
use crate::cli::ReleaseCommand;

pub(super) async fn run(client: &Client, out: &Printer, command: ReleaseCommand) -> Result<bool> {
    match command {
        ReleaseCommand::Together {
            members,
            environment,
            comment,
        } => {
            let members = members.iter().map(|text| wish(text)).collect::<Result<_>>()?;
            let request = api::GroupRequest {
                members,
                environment,
                comment,
            };
            let answer = client.post("/api/v1/groups", &request).await?;
            done(client, out, &answer, "trimtab release groups")
        }
        ReleaseCommand::Groups => groups(client, out).await,
        ReleaseCommand::Abort(about) => {
            let path = fill("/api/v1/groups/{id}/abort", &[&about.id]);
            let comment = api::Comment {
                comment: about.comment,
            };
            let answer = client.post(&path, &comment).await?;
            done(client, out, &answer, "trimtab release groups")
        }
    }
}

async fn groups(client: &Client, out: &Printer) -> Result<bool> {
    let answer = client.get("/api/v1/groups").await?;
    if out.json(&answer)? {
        return Ok(true);
    }
    let all: Vec<api::Group> = read(&answer)?;
    if all.is_empty() {
        out.line("nothing was released together yet");
        out.next("trimtab release together SERVICE=RELEASE SERVICE=RELEASE");
    }
    for group in &all {
        out.line(&format!(
            "{}  {}: {}",
            clean(&group.id),
            clean(&group.environment),
            clean(&group.state_text)
        ));
        let rows: Vec<Vec<String>> = group.members.iter().map(row).collect();
        let (head, body) = columns(&["RELEASE", "ROLLOUT", "BARRIER", "STATE"], &rows);
        for line in std::iter::once(head).chain(body) {
            out.line(&clean(&line));
        }
    }
    Ok(true)
}

fn row(member: &api::GroupMember) -> Vec<String> {
    vec![
        member.release.clone(),
        member.rollout.clone().unwrap_or_else(|| "–".to_owned()),
        member
            .barrier
            .map_or_else(|| "–".to_owned(), |barrier| barrier.to_string()),
        member.state_text.clone(),
    ]
}

/// `SERVICE=RELEASE` or `SERVICE=RELEASE@WEIGHT`.
fn wish(text: &str) -> Result<api::GroupWish> {
    let Some((service, release)) = text.split_once('=') else {
        bail!("failed to read {text:?}\n  write SERVICE=RELEASE, for example blocks=blocks-r3");
    };
    let (release, weight) = match release.split_once('@') {
        None => (release, None),
        Some((release, weight)) => match weight.parse() {
            Ok(weight) => (release, Some(weight)),
            Err(_) => bail!("failed to read the weight in {text:?}\n  write a whole number from 1"),
        },
    };
    Ok(api::GroupWish {
        service: service.to_owned(),
        release: release.to_owned(),
        weight,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn members_are_read_with_and_without_a_weight() {
        let plain = wish("blocks=blocks-r3").unwrap();
        assert_eq!((plain.service.as_str(), plain.weight), ("blocks", None));
        assert_eq!(wish("blocks=blocks-r3@2").unwrap().weight, Some(2));
        assert!(wish("blocks").is_err() && wish("blocks=r3@x").is_err());
    }
}
