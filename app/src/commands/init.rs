//! Starter files.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

const PROJECT: &str = "\
# How Trimtab builds, tests, deploys and watches this service.
service: SERVICE

pipeline:
  build: make build
  unit: make test
  artifact: {paths: [bin]}

run:
  command: ./bin/SERVICE
  instances: 1
  health: {path: /health}

production:
  strategy: blue-green
  holdback: 5%
  watch: 30s
  route: {host: \"*\", path: /}

objectives: {availability: 99.5%, latency: 300ms}
";

const SERVER: &str = "\
listen: 127.0.0.1:7700
otlp_grpc: 127.0.0.1:4317
otlp_http: 127.0.0.1:4318
traffic: 127.0.0.1:7780
repositories:
  - {service: SERVICE, path: ., branch: main}
";

/// Writes both starter files; refuses to overwrite one.
pub(super) fn init(service: &str, dir: &Path) -> Result<bool> {
    for (name, text) in [("trimtab.yaml", PROJECT), ("trimtab-server.yaml", SERVER)] {
        let path = dir.join(name);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| {
                format!(
                    "failed to write {} (an existing file is never overwritten)",
                    path.display()
                )
            })?;
        file.write_all(text.replace("SERVICE", service).as_bytes())?;
        println!("wrote {}", path.display());
    }
    println!("next: edit both, then: trimtab serve --config trimtab-server.yaml");
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn starter_files_are_valid_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        assert!(init("shop", dir.path()).unwrap());
        let text = std::fs::read_to_string(dir.path().join("trimtab.yaml")).unwrap();
        assert!(trimtab_project::parse("trimtab.yaml", &text).is_ok());
        assert!(
            init("shop", dir.path())
                .unwrap_err()
                .to_string()
                .contains("never overwritten")
        );
    }
}
