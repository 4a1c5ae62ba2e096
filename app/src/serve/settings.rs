//! `trimtab-server.yaml` turned into what the rooms take.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use trimtab_control::grants::Grants;
use trimtab_control::world::{Repository, Together};
use trimtab_notify::{Email, Encryption, Receivers, Secret, Slack, Sms, Webhook};
use trimtab_project::Server;
use trimtab_proxy::{AcmeConfig, TlsFiles};

/// Reads the server's file; a missing one that nobody named means all defaults.
pub(crate) fn read(path: &Path, named: bool) -> Result<Server> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => String::new(),
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
    };
    trimtab_project::parse_server(&path.display().to_string(), &text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(
            "{} problems in the configuration:\n{}",
            lines.len(),
            lines.join("\n")
        )
    })
}

/// Address and certificates of HTTPS, when there is an address.
pub(crate) fn tls(server: &Server) -> Option<(std::net::SocketAddr, Vec<TlsFiles>)> {
    let files = server.tls.iter().chain(&server.certificates);
    let files = files.map(|tls| TlsFiles {
        cert: PathBuf::from(&tls.cert),
        key: PathBuf::from(&tls.key),
    });
    Some((server.traffic_tls?, files.collect()))
}

/// Where certificates come from by themselves.
pub(crate) fn acme(server: &Server) -> Option<AcmeConfig> {
    let acme = server.acme.as_ref()?;
    Some(AcmeConfig {
        directory: acme.directory.clone(),
        directory_ca: acme.ca.as_ref().map(PathBuf::from),
        contact: acme.contact.clone(),
        hosts: acme.hosts.clone(),
    })
}

/// The repositories, relative paths beneath the data folder.
pub(crate) fn repositories(server: &Server, data: &Path) -> Vec<Repository> {
    server
        .repositories
        .iter()
        .map(|repository| Repository {
            service: repository.service.clone(),
            path: data.join(&repository.path),
            branch: repository.branch.clone(),
        })
        .collect()
}

/// What instances may have.
pub(crate) fn grants(server: &Server) -> Grants {
    Grants {
        secrets: server.secrets.clone(),
        hooks: server.hooks.clone(),
        users: server.users.clone(),
        docker: server.docker.as_ref().map(|docker| PathBuf::from(&docker.socket)),
    }
}

/// What is released together.
pub(crate) fn groups(server: &Server) -> Vec<Together> {
    let weight = |weights: &[u64], place: usize| {
        let weight = weights.get(place).copied().unwrap_or(1);
        u32::try_from(weight).unwrap_or(u32::MAX)
    };
    let groups = server.groups.iter();
    groups
        .map(|group| {
            let services = group.services.iter().enumerate();
            Together {
                services: services
                    .map(|(place, service)| (service.clone(), weight(&group.weights, place)))
                    .collect(),
                wait: group.wait.0,
            }
        })
        .collect()
}

/// Where notices go, with their secrets read.
pub(crate) fn receivers(server: &Server) -> Result<Receivers> {
    let notify = &server.notify;
    Ok(Receivers {
        slack: match &notify.slack {
            Some(slack) => Some(Slack {
                webhook: secret(&slack.webhook)?,
            }),
            None => None,
        },
        email: match &notify.email {
            Some(email) => Some(Email {
                smtp: email.smtp.clone(),
                from: email.from.clone(),
                to: email.to.clone(),
                credentials: match (&email.username, &email.password) {
                    (Some(name), Some(password)) => Some((name.clone(), secret(password)?)),
                    _ => None,
                },
                encryption: if email.starttls {
                    Encryption::Required
                } else {
                    Encryption::None
                },
                authority: None,
            }),
            None => None,
        },
        sms: match &notify.sms {
            Some(sms) => Some(Sms {
                base_url: sms.base_url.clone(),
                account: sms.account.clone(),
                token: secret(&sms.token)?,
                from: sms.from.clone(),
                to: sms.to.clone(),
            }),
            None => None,
        },
        webhook: match &notify.webhook {
            Some(webhook) => Some(Webhook {
                url: webhook.url.clone(),
                secret: secret(&webhook.secret)?,
            }),
            None => None,
        },
    })
}

fn secret(reference: &trimtab_project::Secret) -> Result<Secret> {
    match reference {
        trimtab_project::Secret::Env(name) => match std::env::var(name) {
            Ok(value) => Ok(Secret::new(value)),
            Err(_) => bail!(
                "the environment variable {name}, which trimtab-server.yaml names as a secret, is not set"
            ),
        },
        trimtab_project::Secret::File(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("failed to read the secret file {path}"))?;
            Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
        }
    }
}

/// Writes a secret that only its owner may read.
pub(crate) fn write_secret(path: &Path, secret: &str) -> Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("failed to make {}", path.display()))?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    Ok(())
}
