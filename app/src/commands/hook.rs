//! The hook by which a bare git repository on this machine tells of pushes: it plays the forge.

use std::io::{BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::client::Client;

/// The name of a ref that a push deleted.
const GONE: &str = "0000000000000000000000000000000000000000";
/// Whom the hook speaks for; what starts git for a person (an SSH key's `command=`) sets it.
const ACTOR_VARIABLE: &str = "TRIMTAB_ACTOR";

/// Writes the hook into a bare repository, with the token that it will use.
pub(crate) fn install(repository: &Path, service: &str, url: &str, token: Option<&str>) -> Result<PathBuf> {
    let hooks = repository.join("hooks");
    if !hooks.is_dir() {
        bail!(
            "failed to find {}: give a bare git repository (`git init --bare`)",
            hooks.display()
        );
    }
    let token = token.context(
        "failed to install the hook without a token: `trimtab token create forge --role operator`, then set \
         TRIMTAB_TOKEN",
    )?;
    let repository = std::path::absolute(repository)?;
    let secret = repository.join("trimtab.token");
    write(&secret, token, 0o600)?;
    let program = std::env::current_exe().context("failed to find this program's file")?;
    let hook = hooks.join("post-receive");
    let script = format!(
        "#!/bin/sh\n# Tells Trimtab of each push. Written by `trimtab hook install`.\n\
         TRIMTAB_URL={} TRIMTAB_TOKEN=\"$(cat {})\" exec {} hook post-receive {}\n",
        quoted(url),
        quoted(&secret.display().to_string()),
        quoted(&program.display().to_string()),
        quoted(service),
    );
    write(&hook, &script, 0o755)?;
    Ok(hook)
}

/// Called by git with a line `before after ref` for each ref that a push moved. A push stands whatever is
/// said here, so a server that is away is a warning to the pusher.
pub(super) async fn post_receive(client: &Client, service: &str) -> Result<bool> {
    let actor = std::env::var(ACTOR_VARIABLE)
        .or_else(|_| std::env::var("USER"))
        .unwrap_or_default();
    let lines: Vec<String> = std::io::stdin().lock().lines().collect::<Result<_, _>>()?;
    for line in lines {
        let [before, commit, reference] = line.split(' ').collect::<Vec<_>>()[..] else {
            bail!("failed to read {line:?}: git gives a hook `before after ref`");
        };
        if commit == GONE {
            continue;
        }
        let before = Some(before).filter(|before| *before != GONE);
        let push = json!({"service": service, "actor": actor, "kind": "push", "ref": reference,
                          "commit": commit, "before": before});
        match client.post("/api/v1/hooks/git", &push).await {
            Ok(done) => println!("trimtab: {}", done["message"].as_str().unwrap_or_default()),
            Err(error) => eprintln!("trimtab: {error:#}"),
        }
    }
    Ok(true)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("failed to write {}", path.display()))
}

/// A word that a shell leaves as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_shell_whole() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
