//! The `trimtab.yaml` of the tests' service: fast steps, short watches, faults as told.

use std::fmt::Write;
use std::path::Path;

/// The service's name.
pub(crate) const SERVICE: &str = "notes";

/// A good project; tests change what they are about.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    /// Words for `testing/service.rs`.
    pub(crate) faults: String,
    /// Stages of the pipeline and their YAML.
    pub(crate) pipeline: Vec<(&'static str, String)>,
    /// Gates of staging and their YAML; none, no staging.
    pub(crate) staging: Vec<(&'static str, String)>,
    /// Fields of production and their YAML.
    pub(crate) production: Vec<(&'static str, String)>,
    /// The health check's YAML.
    pub(crate) health: String,
    /// What is run, and how many.
    pub(crate) command: String,
    pub(crate) instances: u32,
    /// Further top-level lines.
    pub(crate) more: String,
}

fn fields(all: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    all.iter()
        .map(|(name, yaml)| (*name, (*yaml).to_owned()))
        .collect()
}

impl Default for Project {
    fn default() -> Self {
        let program = env!("CARGO_BIN_EXE_trimtab-test-service");
        let build = format!("mkdir -p bin && cp '{program}' bin/service");
        Project {
            faults: String::new(),
            pipeline: fields(&[
                ("install", "test -f trimtab.yaml"),
                ("build", &build),
                ("unit", "test -x bin/service"),
                ("integration", "test -x bin/service"),
                ("e2e", "test -x bin/service"),
            ]),
            staging: fields(&[
                ("smoke", "./bin/service check $TARGET_URL/smoke 1 5000"),
                (
                    "integration",
                    "./bin/service check $TARGET_URL/integration 2 5000",
                ),
                (
                    "performance",
                    "./bin/service check $TARGET_URL/performance 10 2000",
                ),
            ]),
            production: fields(&[
                ("strategy", "blue-green"),
                ("test", "./bin/service check $TARGET_URL/preview 1 5000"),
                ("holdback", "5%"),
                ("watch", "1500ms"),
                ("drain", "2s"),
                ("decommission_after", "100ms"),
                ("route", "{host: \"*\", path: /, timeout: 10s}"),
                ("verdict", "{on_inconclusive: pass, requests_min: 50}"),
            ]),
            health: "{path: /health, interval: 100ms, timeout: 2s, healthy_after: 1, unhealthy_after: 2, \
                     start_timeout: 30s}"
                .to_owned(),
            command: "./bin/service".to_owned(),
            instances: 1,
            more: String::new(),
        }
    }
}

impl Project {
    /// A good project without staging: tests of production are sooner there.
    pub(crate) fn without_staging() -> Project {
        Project {
            staging: Vec::new(),
            ..Project::default()
        }
    }

    /// The same with faults.
    pub(crate) fn with(&self, faults: &str) -> Project {
        Project {
            faults: faults.to_owned(),
            ..self.clone()
        }
    }

    /// The same with another line of `pipeline:`.
    pub(crate) fn stage(mut self, name: &'static str, yaml: &str) -> Project {
        put(&mut self.pipeline, name, yaml);
        self
    }

    /// The same with another line of `staging:`.
    pub(crate) fn gate(mut self, name: &'static str, yaml: &str) -> Project {
        put(&mut self.staging, name, yaml);
        self
    }

    /// The same with another line of `production:`.
    pub(crate) fn production(mut self, name: &'static str, yaml: &str) -> Project {
        put(&mut self.production, name, yaml);
        self
    }

    /// The same without tests before any traffic.
    pub(crate) fn untested(mut self) -> Project {
        self.production.retain(|(known, _)| *known != "test");
        self
    }

    /// The file's text; `faults_file` is where a test may break a running instance.
    pub(crate) fn yaml(&self, faults_file: &Path) -> String {
        let mut text = format!("service: {SERVICE}\npipeline:\n");
        block(&mut text, &self.pipeline);
        text.push_str("  artifact: {paths: [bin, trimtab.yaml]}\n");
        let (command, instances, health) = (&self.command, self.instances, &self.health);
        let _ = write!(
            text,
            "run:\n  command: {command}\n  instances: {instances}\n  health: {health}\n  stop_grace: 2s\n  \
             metrics: {{path: /metrics, interval: 500ms}}\n  env: {{FAULTS: {:?}, FAULTS_FILE: {faults_file:?}}}\n",
            self.faults
        );
        if !self.staging.is_empty() {
            text.push_str("staging:\n");
            block(&mut text, &self.staging);
        }
        text.push_str("production:\n");
        block(&mut text, &self.production);
        text.push_str(&self.more);
        text
    }
}

fn put(fields: &mut Vec<(&'static str, String)>, name: &'static str, yaml: &str) {
    fields.retain(|(known, _)| *known != name);
    fields.push((name, yaml.to_owned()));
}

fn block(text: &mut String, fields: &[(&'static str, String)]) {
    for (name, yaml) in fields {
        let _ = writeln!(text, "  {name}: {yaml}");
    }
}
