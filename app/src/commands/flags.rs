//! Feature flags.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::Value;
use trimtab_api as api;
use trimtab_api::routes::fill;
use trimtab_flags::{FlagSet, list_problems};

use super::client::{Client, read, with_query};
use super::print::{Printer, Tone, clean};
use super::rollouts::done;

/// Whose flags.
#[derive(Debug, Args)]
pub(crate) struct Of {
    /// The service.
    pub service: String,
    /// Where.
    #[arg(long, short = 'e', default_value = "production")]
    pub environment: String,
}

impl Of {
    fn path(&self, rest: &str) -> String {
        let pattern = format!("/api/v1/flags/{{service}}/{{environment}}{rest}");
        fill(&pattern, &[&self.service, &self.environment])
    }
}

/// What to do with flags.
#[derive(Debug, Subcommand)]
pub(crate) enum FlagCommand {
    /// List flag sets, or the flags of a service.
    List {
        /// The service; all sets when absent.
        service: Option<String>,
        /// Where.
        #[arg(long, short = 'e', default_value = "production")]
        environment: String,
    },
    /// Print the document of a service, or one flag of it.
    Get {
        #[command(flatten)]
        of: Of,
        /// One flag.
        key: Option<String>,
    },
    /// Change one flag, or the whole set from a file.
    Set(Box<Set>),
    /// Check a file without a server; exit 1 when it has mistakes.
    Validate {
        /// flagd's JSON; `-` reads standard input.
        file: PathBuf,
    },
    /// Show every change: who, why, what stood there before.
    History {
        #[command(flatten)]
        of: Of,
    },
    /// Take a change back.
    Undo {
        #[command(flatten)]
        of: Of,
        /// The version whose change it is; the last one when absent.
        #[arg(long)]
        version: Option<u64>,
        /// Why; kept in the audit log.
        #[arg(long, short = 'm')]
        reason: String,
    },
    /// List flags that nobody needs any more.
    Stale {
        #[command(flatten)]
        of: Of,
        /// After how many days.
        #[arg(long, default_value_t = 30)]
        days: u32,
    },
}

/// A change.
#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    of: Of,
    /// The flag; with --file the flag's own definition, without a key the whole set.
    key: Option<String>,
    /// A file with the definition; `-` reads standard input.
    #[arg(long, short = 'f')]
    file: Option<PathBuf>,
    /// Switch it on.
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Switch it off: the code's own default applies.
    #[arg(long)]
    disable: bool,
    /// The variant when targeting chooses none.
    #[arg(long)]
    default: Option<String>,
    /// Per cent of users who get the variant --on.
    #[arg(long)]
    percent: Option<f64>,
    /// The new variant of --percent.
    #[arg(long, default_value = "on")]
    on: String,
    /// The old variant of --percent.
    #[arg(long, default_value = "off")]
    off: String,
    /// The property that tells users apart; the targeting key when absent.
    #[arg(long)]
    by: Option<String>,
    /// Take the flag out.
    #[arg(long)]
    delete: bool,
    /// The version that this is made for; refused when another stands.
    #[arg(long)]
    version: Option<u64>,
    /// Why; kept in the audit log.
    #[arg(long, short = 'm')]
    reason: String,
}

/// Carries a command out.
pub(super) async fn run(client: &Client, out: &Printer, command: FlagCommand) -> Result<bool> {
    match command {
        FlagCommand::List { service: None, .. } => {
            let answer = client.get("/api/v1/flags").await?;
            if !out.json(&answer)? {
                list_sets(out, &answer)?;
            }
            Ok(true)
        }
        FlagCommand::List {
            service: Some(service),
            environment,
        } => {
            let answer = client.get(&Of { service, environment }.path("")).await?;
            if !out.json(&answer)? {
                list(out, &answer)?;
            }
            Ok(true)
        }
        FlagCommand::Get { of, key } => get(client, out, &of, key).await,
        FlagCommand::Set(set) => change(client, out, *set).await,
        FlagCommand::Validate { file } => validate(out, &file),
        FlagCommand::History { of } => {
            let answer = client.get(&of.path("/history")).await?;
            if !out.json(&answer)? {
                history(out, &answer)?;
            }
            Ok(true)
        }
        FlagCommand::Undo { of, version, reason } => {
            let body = api::FlagsUndo { reason, version };
            let answer = client.post(&of.path("/undo"), &body).await?;
            done(
                client,
                out,
                &answer,
                &format!("trimtab flags history {}", of.service),
            )
        }
        FlagCommand::Stale { of, days } => {
            let query = api::StaleQuery { days: Some(days) };
            let answer = client.get(&with_query(&of.path("/stale"), &query)).await?;
            if !out.json(&answer)? {
                stale(out, &answer, days)?;
            }
            Ok(true)
        }
    }
}

fn read_file(file: &Path) -> Result<String> {
    if file == Path::new("-") {
        return std::io::read_to_string(std::io::stdin()).context("failed to read standard input");
    }
    std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}

/// Checks a file; needs no server.
pub(super) fn validate(out: &Printer, file: &Path) -> Result<bool> {
    let text = read_file(file)?;
    let (json, well) = match FlagSet::parse(&text) {
        Ok(set) => (
            serde_json::json!({"flags": set.flags.len(), "problems": []}),
            true,
        ),
        Err(problems) => {
            let told: Vec<Value> = problems
                .iter()
                .map(|problem| {
                    serde_json::json!({
                        "flag": problem.flag, "path": problem.path, "what": problem.what, "mend": problem.mend,
                    })
                })
                .collect();
            if !out.json(&serde_json::json!({ "problems": told }))? {
                out.line(&clean(&list_problems(&problems)));
                let count = format!("{} in {}", problems.len(), file.display());
                out.line(&out.paint(Tone::Bad, &format!("✘ mistakes: {count}")));
            }
            return Ok(false);
        }
    };
    if !out.json(&json)? {
        let text = format!("✔ {} flags, no mistakes", json["flags"]);
        out.line(&out.paint(Tone::Good, &text));
    }
    Ok(well)
}

fn list_sets(out: &Printer, answer: &Value) -> Result<()> {
    let sets: Vec<api::FlagSetSummary> = read(answer)?;
    let none = sets.is_empty();
    let rows: Vec<Vec<String>> = sets
        .into_iter()
        .map(|set| {
            vec![
                set.service,
                set.environment,
                set.flags.to_string(),
                set.version.to_string(),
                set.changed_by.unwrap_or_default(),
            ]
        })
        .collect();
    out.table(
        &["SERVICE", "ENVIRONMENT", "FLAGS", "VERSION", "CHANGED"],
        &rows,
        "no flags",
    );
    if none {
        out.next("trimtab flags set SERVICE KEY -m \"why\"");
    }
    Ok(())
}

fn list(out: &Printer, answer: &Value) -> Result<()> {
    let set: api::FlagSetDetail = read(answer)?;
    let rows: Vec<Vec<String>> = set
        .by_key
        .into_iter()
        .map(|flag| {
            let kind = match (&flag.share, flag.kind) {
                (Some(share), api::FlagKind::Split) => format!("{} for {} %", share.on, share.percent),
                (_, api::FlagKind::Disabled) => "disabled".to_owned(),
                (_, api::FlagKind::Static) => {
                    format!(
                        "everybody: {}",
                        flag.default_variant.as_deref().unwrap_or("the code's default")
                    )
                }
                (_, api::FlagKind::Targeting) => "targeting".to_owned(),
                (None, api::FlagKind::Split) => "split".to_owned(),
            };
            let users = match flag.users {
                api::FlagUsers {
                    exposed: 0,
                    control: 0,
                    ..
                } => String::new(),
                users => format!("{} exposed, {} control", users.exposed, users.control),
            };
            let verdict = flag.verdict.map(|verdict| verdict.decision).unwrap_or_default();
            let asked = flag
                .asked_at
                .map_or_else(|| "never".to_owned(), |at| at.to_string());
            vec![flag.key, kind, asked, users, verdict]
        })
        .collect();
    out.table(
        &["FLAG", "SERVES", "ASKED", "USERS", "VERDICT"],
        &rows,
        "no flags",
    );
    Ok(())
}

async fn get(client: &Client, out: &Printer, of: &Of, key: Option<String>) -> Result<bool> {
    let answer = client.get(&of.path("")).await?;
    let set: api::FlagSetDetail = read(&answer)?;
    let Some(key) = key else {
        out.line(&clean(&serde_json::to_string_pretty(&set.document)?));
        return Ok(true);
    };
    let Some(flag) = set.document.get("flags").and_then(|flags| flags.get(&key)) else {
        bail!(
            "failed to find the flag {key:?} (see them with `trimtab flags list {}`)",
            of.service
        );
    };
    out.line(&clean(&serde_json::to_string_pretty(flag)?));
    Ok(true)
}

async fn change(client: &Client, out: &Printer, set: Set) -> Result<bool> {
    let written: Option<Value> = match &set.file {
        Some(file) => {
            let text = read_file(file)?;
            Some(serde_json::from_str(&text).with_context(|| format!("failed to read {}", file.display()))?)
        }
        None => None,
    };
    let mut body = api::FlagsChange {
        reason: set.reason,
        version: set.version,
        ..api::FlagsChange::default()
    };
    match set.key {
        Some(key) => {
            let share = set.percent.map(|percent| api::FlagShare {
                on: set.on,
                off: set.off,
                percent,
                by: set.by,
            });
            body.flag = Some(api::OneFlag {
                key,
                definition: written,
                enabled: match (set.enable, set.disable) {
                    (true, _) => Some(true),
                    (_, true) => Some(false),
                    _ => None,
                },
                default_variant: set.default,
                share,
                delete: set.delete,
            });
        }
        None if written.is_some() => body.document = written,
        None => bail!("failed to tell what to change: give a key, or the whole set with --file"),
    }
    let answer = client.post(&set.of.path(""), &body).await?;
    done(
        client,
        out,
        &answer,
        &format!("trimtab flags list {}", set.of.service),
    )
}

fn history(out: &Printer, answer: &Value) -> Result<()> {
    let past: Vec<api::FlagsPast> = read(answer)?;
    for change in past {
        let mark = change
            .undoes
            .map(|version| format!(" (undoes {version})"))
            .unwrap_or_default();
        let head = format!("version {}{mark}  {}  {}", change.version, change.at, change.by);
        out.line(&out.paint(Tone::Bold, &head));
        out.line(&format!("  {}", clean(&change.reason)));
        for entry in change.entries {
            let show =
                |value: Option<Value>| value.map_or_else(|| "nothing".to_owned(), |value| value.to_string());
            out.line(&clean(&format!("  {}.{}", entry.section, entry.key)));
            out.line(&format!("    - {}", out.paint(Tone::Bad, &show(entry.before))));
            out.line(&format!("    + {}", out.paint(Tone::Good, &show(entry.after))));
        }
    }
    Ok(())
}

fn stale(out: &Printer, answer: &Value, days: u32) -> Result<()> {
    let found: Vec<api::StaleFlag> = read(answer)?;
    if found.is_empty() {
        out.line(&format!("no flag has been stale for {days} days"));
    }
    for flag in found {
        out.line(&format!(
            "{}  {} days: {}",
            out.paint(Tone::Warn, &flag.key),
            flag.days,
            clean(&flag.why)
        ));
        out.next(&flag.mend);
    }
    Ok(())
}
