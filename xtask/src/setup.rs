//! Installs what the tests need beyond Rust, by package name.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Debian packages: a browser and its driver for the page tests, git for checkouts, Python for the
/// official telemetry and flag SDKs and a real SMTP server, Node for its flag SDK, an ACME server, a container engine and a
/// registry for its images, curl to look at the engine beside the code under test.
const DEBIAN: [(&str, &str); 10] = [
    ("git", "git"),
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("python3", "python3-venv"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("pebble", "pebble"),
    ("dockerd", "docker.io"),
    ("docker-registry", "docker-registry"),
    ("curl", "curl"),
];

/// PyPI packages that tests talk to.
const PYTHON: [&str; 6] = [
    "aiosmtpd",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp",
    "pyarrow",
    "openfeature-sdk",
    "openfeature-provider-ofrep",
];

/// npm packages that tests talk to.
const NODE: [&str; 2] = ["@openfeature/server-sdk", "@openfeature/ofrep-provider"];

/// What the tests are told through their environment.
pub(crate) struct Tools {
    /// A Python interpreter that has the packages above.
    pub(crate) python: PathBuf,
    /// A folder whose `node_modules` has the packages above.
    pub(crate) node: PathBuf,
}

/// Makes sure of everything and says where it is.
pub(crate) fn run() -> Result<Tools> {
    let missing: Vec<&str> = DEBIAN
        .iter()
        .filter(|(program, _)| !on_path(program))
        .map(|(_, package)| *package)
        .collect();
    install_debian(&missing)?;
    Ok(Tools {
        python: python_with_packages()?,
        node: node_with_packages()?,
    })
}

/// Installs Debian packages when there are any to install; without root says what to run.
pub(crate) fn install_debian(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get update && apt-get install -y {}", packages.join(" "));
    if !is_root() {
        bail!("these Debian packages are missing; as root run: {by_hand}");
    }
    println!("installing {}", packages.join(" "));
    quiet(Command::new("apt-get").args(["update", "-qq"]))?;
    quiet(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages),
    )
    .with_context(|| format!("failed to install Debian packages; try by hand: {by_hand}"))
}

/// Whether a program of this name can be started.
pub(crate) fn on_path(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain(["/usr/sbin".into()])
            .any(|folder| folder.join(program).is_file())
    })
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output();
    output.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn python_with_packages() -> Result<PathBuf> {
    let folder = crate::target_dir().join("tools").join("python");
    let python = folder.join("bin").join("python3");
    let done = folder.join(format!("installed-{}", PYTHON.join("-")));
    if done.is_file() {
        return Ok(python);
    }
    if make_environment(&folder).is_err() {
        // Debian ships python3 without ensurepip unless python3-venv is there.
        install_debian(&["python3-venv"])?;
        make_environment(&folder)?;
    }
    println!("installing {} from PyPI", PYTHON.join(" "));
    quiet(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(PYTHON),
    )
    .context("failed to install the Python packages that tests talk to")?;
    std::fs::write(&done, "")?;
    Ok(python)
}

fn node_with_packages() -> Result<PathBuf> {
    let folder = crate::target_dir().join("tools").join("node");
    let done = folder.join(format!("installed-{}", NODE.join("-").replace('/', "-")));
    if done.is_file() {
        return Ok(folder);
    }
    std::fs::create_dir_all(&folder)?;
    println!("installing {} from npm", NODE.join(" "));
    quiet(
        Command::new("npm")
            .args([
                "install",
                "--silent",
                "--no-fund",
                "--no-audit",
                "--ignore-scripts",
                "--prefix",
            ])
            .arg(&folder)
            .args(NODE),
    )
    .context("failed to install the npm packages that tests talk to")?;
    std::fs::write(&done, "")?;
    Ok(folder)
}

fn make_environment(folder: &Path) -> Result<()> {
    quiet(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(folder),
    )
    .context("failed to make a Python environment")
}

/// Runs a command, showing what it printed only if it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("failed to start {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
