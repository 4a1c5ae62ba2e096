//! `trimtab serve` as a process of its own, which can be killed and started again, and its API over HTTP.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Inbox, Load, PATIENCE, Place, SERVICE};

/// The real server at a place.
pub(crate) struct Server {
    pub(crate) inbox: Inbox,
    http: reqwest::Client,
    listen: u16,
    /// Ends before the place's folder goes.
    serve: Option<Child>,
    pub(crate) place: Place,
}

impl Server {
    /// Starts a server whose repository is `repository` (a path, or the place's own).
    pub(crate) async fn start(place: Place, repository: &std::path::Path) -> Server {
        Server::start_with(place, repository, "").await
    }

    /// The same with further lines of the server's file.
    pub(crate) async fn start_with(place: Place, repository: &std::path::Path, more: &str) -> Server {
        let inbox = Inbox::start().await;
        let listen = Place::free_port();
        let _ = rustls::crypto::ring::default_provider().install_default();
        std::fs::create_dir_all(place.data()).unwrap();
        let (slack, secret) = (place.data().join("slack"), place.data().join("secret"));
        let base = format!("http://{}", inbox.http);
        std::fs::write(&slack, format!("{base}/slack")).unwrap();
        std::fs::write(&secret, "no secret").unwrap();
        let yaml = format!(
            "listen: 127.0.0.1:{listen}\notlp_grpc: 127.0.0.1:{grpc}\notlp_http: 127.0.0.1:{otlp}\n\
             traffic: {traffic}\nrepositories:\n  - {{service: {SERVICE}, path: {repository:?}, branch: main}}\n\
             notify:\n  slack: {{webhook: {{file: {slack:?}}}}}\n  \
             email: {{smtp: \"{smtp}\", from: trimtab@example.org, to: [team@example.org], starttls: false}}\n  \
             sms: {{base_url: \"{base}\", account: AC1, token: {{file: {secret:?}}}, from: '+15550100', \
             to: ['+15550101']}}\n  webhook: {{url: \"{base}/webhook\", secret: {{file: {secret:?}}}}}\n{more}",
            grpc = Place::free_port(),
            otlp = Place::free_port(),
            traffic = place.traffic(),
            smtp = inbox.smtp,
        );
        std::fs::write(place.data().join("trimtab-server.yaml"), yaml).unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let mut server = Server {
            inbox,
            http: http.build().unwrap(),
            listen,
            serve: None,
            place,
        };
        server.up().await;
        server
    }

    /// Starts `serve` and waits until it answers.
    pub(crate) async fn up(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.place.root().join("serve.log"))
            .unwrap();
        let mut serve = Command::new(env!("CARGO_BIN_EXE_trimtab"))
            .args(["serve", "--data"])
            .arg(self.place.data())
            .env("TRIMTAB_EPHEMERAL", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let began = Instant::now();
        loop {
            let ended = serve.try_wait().unwrap();
            assert!(ended.is_none(), "serve ended with {ended:?}: {}", self.log());
            assert!(
                began.elapsed() < PATIENCE,
                "serve does not answer: {}",
                self.log()
            );
            let asked = self.http.get(self.address("/livez")).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        self.serve = Some(serve);
    }

    /// What `serve` printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.place.root().join("serve.log")).unwrap_or_default()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let mut serve = self.serve.take().unwrap();
        serve.kill().unwrap();
        serve.wait().unwrap();
    }

    /// The address of a path of the API.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.listen)
    }

    /// The administrator's token.
    pub(crate) fn admin(&self) -> String {
        let text = std::fs::read_to_string(self.place.data().join("keys/admin.token")).unwrap();
        text.trim().to_owned()
    }

    /// A token for somebody.
    pub(crate) async fn token(&self, name: &str, role: &str) -> String {
        let (status, answer) = self
            .post(
                &self.admin(),
                "/api/v1/tokens",
                &json!({"name": name, "role": role}),
            )
            .await;
        assert_eq!(status, 200, "{answer}");
        answer["secret"].as_str().unwrap().to_owned()
    }

    /// What the command line answers to the administrator.
    pub(crate) fn cli(&self, words: &[&str]) -> String {
        let (succeeded, out, err) = self.ask_by_cli(words);
        assert!(succeeded, "{words:?}: {out}{err}");
        out
    }

    /// What the command line says against it.
    pub(crate) fn cli_refuses(&self, words: &[&str]) -> String {
        let (succeeded, out, err) = self.ask_by_cli(words);
        assert!(!succeeded, "{words:?}: {out}{err}");
        err
    }

    fn ask_by_cli(&self, words: &[&str]) -> (bool, String, String) {
        let said = Command::new(env!("CARGO_BIN_EXE_trimtab"))
            .args(words)
            .args(["--url", &self.address(""), "--token", &self.admin()])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (said.status.success(), text(&said.stdout), text(&said.stderr))
    }

    /// What is at a path.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        let request = self.http.get(self.address(path)).bearer_auth(self.admin());
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Whether the administrator gets what was asked for.
    pub(crate) async fn answers(&self, path: &str) -> bool {
        let request = self.http.get(self.address(path)).bearer_auth(self.admin());
        request.send().await.unwrap().status().is_success()
    }

    /// Posts as the holder of a token; the status and what was answered.
    pub(crate) async fn post(&self, token: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(self.address(path)).bearer_auth(token).json(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Asks for a run of `main`; returns its id.
    pub(crate) async fn run(&self) -> String {
        let (status, done) = self
            .post(&self.admin(), "/api/v1/deploy", &json!({"service": SERVICE}))
            .await;
        assert_eq!(status, 200, "{done}");
        done["id"].as_str().unwrap().to_owned()
    }

    /// Asks about a run until the answer pleases.
    pub(crate) async fn run_until(
        &self,
        id: &str,
        what: &str,
        pleases: impl Fn(&trimtab_api::Run) -> bool,
    ) -> trimtab_api::Run {
        let began = Instant::now();
        loop {
            let run: trimtab_api::Run = self.get(&format!("/api/v1/runs/{id}")).await;
            if pleases(&run) {
                return run;
            }
            let text = &run.summary.state_text;
            assert!(
                run.summary.finished_at.is_none(),
                "{id} ended before {what}: {text}"
            );
            assert!(
                began.elapsed() < PATIENCE,
                "waited in vain for {what} of {id}: {text}\n{}",
                self.log()
            );
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        }
    }

    /// A run when it has ended.
    pub(crate) async fn ended(&self, id: &str) -> trimtab_api::Run {
        self.run_until(id, "its end", |run| run.summary.finished_at.is_some())
            .await
    }

    /// Runs what is committed; it must be deployed.
    pub(crate) async fn deploy(&self) {
        self.deploys(&self.run().await).await;
    }

    /// Waits for the end of a run, which must be that it is deployed.
    pub(crate) async fn deploys(&self, run: &str) {
        let ended = self.ended(run).await.summary;
        let deployed = ended.state == trimtab_api::RunState::Deployed;
        assert!(deployed, "{}\n{}", ended.state_text, self.log());
    }

    /// The rollouts, newest first.
    pub(crate) async fn rollouts(&self) -> Vec<trimtab_api::RolloutSummary> {
        self.get("/api/v1/rollouts").await
    }

    /// Users' requests to production, so many a second.
    pub(crate) fn load(&self, rate: u32) -> Load {
        Load::start(self.place.traffic(), rate, "/work")
    }

    /// The same by so many people who say who they are.
    pub(crate) fn load_of(&self, people: u32, rate: u32) -> Load {
        Load::of_people(self.place.traffic(), rate, "/work", people)
    }

    /// Ids of processes by a part of their command.
    pub(crate) fn pids(&self, part: &str) -> Vec<u32> {
        let all = self.place.processes();
        all.into_iter()
            .filter(|(_, words)| words.contains(part))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// Stops the server with all that it started; nothing may be left.
    pub(crate) async fn stop(mut self) {
        let mut serve = self.serve.take().unwrap();
        let pid = Pid::from_child(&serve);
        kill_process(pid, Signal::TERM).unwrap();
        let status = tokio::task::spawn_blocking(move || serve.wait())
            .await
            .unwrap()
            .unwrap();
        assert!(status.success(), "serve ended with {status}: {}", self.log());
        assert_eq!(self.place.processes(), [], "left running");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut serve) = self.serve.take() {
            // It may have ended by itself; the place ends whatever else runs.
            let _ = serve.kill();
            let _ = serve.wait();
        }
    }
}

/// SIGKILL for any process.
pub(crate) fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}
