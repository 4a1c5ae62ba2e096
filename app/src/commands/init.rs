//! Starter files.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::print::Printer;

const PROJECT: &str = "\
# How Trimtab builds, tests, deploys and watches this service. Commit it; docs/configuration.md has every field.
service: SERVICE

pipeline:                       # shell lines, run in a fresh checkout of the commit; leave out what you have not
  build: make build
  unit: make test
  artifact: {paths: [bin]}      # what a release is made of

run:
  command: ./bin/SERVICE        # must listen on 127.0.0.1:$PORT
  instances: 1
  health: {path: /health}

staging:
  approval: {role: approver}    # somebody says yes before production; leave out to go straight on

production:
  strategy: blue-green
  holdback: 5%                  # stays on the previous release while the new one is watched
  watch: 30s
  route: {host: \"*\", path: /}

objectives: {availability: 99.5%, latency: 300ms}
";

const SERVER: &str = "\
# What `trimtab serve` listens on and watches over; docs/configuration.md has every field.
listen: 127.0.0.1:7700          # pages and API
otlp_grpc: 127.0.0.1:4317
otlp_http: 127.0.0.1:4318
traffic: 127.0.0.1:7780         # your users
repositories:
  - {service: SERVICE, path: REPOSITORY, branch: BRANCH}
";

/// Writes both starter files; refuses to overwrite one.
pub(super) fn init(out: &Printer, service: Option<&str>, dir: &Path) -> Result<bool> {
    let dir = dir
        .canonicalize()
        .with_context(|| format!("failed to find the folder {}", dir.display()))?;
    let service = match service {
        Some(service) => service.to_owned(),
        None => name_of(&dir)?,
    };
    trimtab_model::ServiceName::new(service.as_str())
        .with_context(|| format!("failed to name the service {service:?}"))?;
    let repository = format!("{:?}", dir.display().to_string());
    let files = [("trimtab.yaml", PROJECT), ("trimtab-server.yaml", SERVER)];
    if let Some((name, _)) = files.iter().find(|(name, _)| dir.join(name).exists()) {
        bail!(
            "failed to begin: {} exists, and an existing file is never overwritten\n  \
             remove it first, or edit it: docs/configuration.md",
            dir.join(name).display()
        );
    }
    for (name, text) in files {
        let path = dir.join(name);
        let text = text
            .replace("REPOSITORY", &repository)
            .replace("BRANCH", &branch_of(&dir))
            .replace("SERVICE", &service);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    let wrote = serde_json::json!({"service": service, "wrote": ["trimtab.yaml", "trimtab-server.yaml"]});
    if !out.json(&wrote)? {
        out.line(&format!(
            "wrote trimtab.yaml and trimtab-server.yaml in {}",
            dir.display()
        ));
        out.next("edit trimtab.yaml and commit it, then: trimtab serve --config trimtab-server.yaml");
        out.next(&format!(
            "in another terminal: trimtab deploy {service}, then trimtab status"
        ));
    }
    Ok(true)
}

/// The folder's name as a service's.
fn name_of(dir: &Path) -> Result<String> {
    let name = dir.file_name().map(|name| name.to_string_lossy().to_lowercase());
    let name: String = name
        .unwrap_or_default()
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .collect();
    let name = name.trim_matches('-').to_owned();
    if name.is_empty() {
        bail!("failed to name the service after its folder\n  give a name: trimtab init NAME");
    }
    Ok(name)
}

/// The branch that is checked out; `main` where git does not say.
fn branch_of(dir: &Path) -> String {
    let head = std::fs::read_to_string(dir.join(".git/HEAD")).unwrap_or_default();
    head.trim()
        .strip_prefix("ref: refs/heads/")
        .unwrap_or("main")
        .to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn starter_files_are_valid_and_never_overwritten() {
        let out = Printer::new(false);
        let dir = tempfile::tempdir().unwrap();
        assert!(init(&out, Some("shop"), dir.path()).unwrap());
        let text = std::fs::read_to_string(dir.path().join("trimtab.yaml")).unwrap();
        assert!(trimtab_project::parse("trimtab.yaml", &text).is_ok());
        let text = std::fs::read_to_string(dir.path().join("trimtab-server.yaml")).unwrap();
        let server = trimtab_project::parse_server("trimtab-server.yaml", &text).unwrap();
        assert!(Path::new(&server.repositories[0].path).is_absolute());
        let refusal = init(&out, Some("shop"), dir.path()).unwrap_err().to_string();
        assert!(refusal.contains("never overwritten"), "{refusal}");
    }

    #[test]
    fn a_service_is_named_after_its_folder() {
        assert_eq!(name_of(Path::new("/home/me/My Shop_2")).unwrap(), "my-shop-2");
        assert!(
            name_of(Path::new("/"))
                .unwrap_err()
                .to_string()
                .contains("trimtab init NAME")
        );
    }
}
