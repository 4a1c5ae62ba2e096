//! A real engine and a real registry in folders of their own, started by the test and gone with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long an engine may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the image holds.
const PROGRAM: &str = include_str!("server.rs");

pub(crate) struct Engine {
    pub(crate) dir: TempDir,
    engine: Child,
    registry: Child,
    pub(crate) image: String,
}

impl Engine {
    /// None, loudly, when the kernel refuses an engine to run here. Missing packages fail.
    pub(crate) fn new() -> Option<Engine> {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::write(root.join("daemon.json"), "{}").unwrap();
        // No bridge of the engine's own and no firewall rules: nothing on this machine changes but for the test's network.
        let mut command = Command::new("dockerd");
        command.args([
            "--bridge=none",
            "--iptables=false",
            "--ip-masq=false",
            "--ip-forward=false",
        ]);
        command
            .arg("--host")
            .arg(format!("unix://{}", root.join("docker.sock").display()));
        for (option, name) in [
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
            ("--config-file", "daemon.json"),
        ] {
            command.arg(option).arg(root.join(name));
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\nhttp: {{addr: \"127.0.0.1:{port}\"}}\n",
            root.join("registry")
        );
        std::fs::write(root.join("registry.yaml"), config).unwrap();
        let mut registry = Command::new("docker-registry");
        registry.arg("serve").arg(root.join("registry.yaml"));
        let mut started = Engine {
            engine: start(command, &root.join("engine.out")),
            registry: start(registry, &root.join("registry.out")),
            image: String::new(),
            dir,
        };
        if let Err(reason) = started.until_up() {
            eprintln!("SKIPPED: no container engine can run here: {reason}");
            return None;
        }
        started.image = started.push(port);
        Some(started)
    }

    fn until_up(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while self.curl(&["http://x/_ping"]) != "OK" {
            let ended = self.engine.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(self.dir.path().join("engine.out")).unwrap();
                return Err(said.lines().last().unwrap_or_default().to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Asks the engine past the program under test.
    pub(crate) fn curl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--max-time", "60", "--unix-socket"])
            .arg(self.socket())
            .args(arguments);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }

    /// Builds an image FROM scratch with one static program, pushes it, deletes it here, and names it by its digest.
    fn push(&self, port: u16) -> String {
        let root = self.dir.path();
        let source = root.join("server.rs");
        std::fs::write(&source, PROGRAM).unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let built = Command::new(rustc)
            .args([
                "--edition=2024",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "strip=symbols",
                "-o",
            ])
            .arg(root.join("server"))
            .arg(source)
            .status();
        assert!(built.unwrap().success(), "the image's program is not built");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(root)
            .arg("-cf")
            .arg(root.join("image.tar"))
            .arg("server")
            .status();
        assert!(packed.unwrap().success());
        let name = format!("127.0.0.1:{port}/server");
        let tar = format!("@{}", root.join("image.tar").display());
        let import =
            format!("http://x/images/create?fromSrc=-&repo={name}&tag=1&changes=CMD%20%5B%22/server%22%5D");
        let tarred = [
            "-X",
            "POST",
            "-H",
            "Content-Type: application/x-tar",
            "--data-binary",
            &tar,
            &import,
        ];
        let made = self.curl(&tarred);
        assert!(made.contains("sha256:"), "{made}");
        let push = format!("http://x/images/{name}/push?tag=1");
        let pushed = self.curl(&["-X", "POST", "-H", "X-Registry-Auth: e30=", &push]);
        let digest = pushed
            .split("digest: ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let digest = digest.unwrap_or_else(|| panic!("not pushed: {pushed}"));
        self.curl(&["-X", "DELETE", &format!("http://x/images/{name}:1?force=1")]);
        format!("{name}@{digest}")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let list = self.curl(&["http://x/containers/json?all=1"]);
        for name in list
            .split("\"Names\":[\"/")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            self.curl(&["-X", "DELETE", &format!("http://x/containers/{name}?force=1")]);
        }
        // The network's bridge is a device of this machine.
        self.curl(&["-X", "POST", "http://x/networks/prune"]);
        for child in [&mut self.engine, &mut self.registry] {
            // Its own containerd ends with the engine when that is asked, not when it is killed.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let deadline = Instant::now() + Duration::from_secs(15);
            while child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(mut command: Command, output: &Path) -> Child {
    let output = std::fs::File::create(output).unwrap();
    let error = output.try_clone().unwrap();
    let program = command.get_program().to_owned();
    let started = command.stdin(Stdio::null()).stdout(output).stderr(error).spawn();
    started.unwrap_or_else(|error| panic!("{program:?} is not there ({error}); run `cargo xtask setup`"))
}
