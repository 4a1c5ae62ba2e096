//! A server on a free port, and a client that follows nothing by itself.

use std::sync::Arc;

use reqwest::{Client, Method, RequestBuilder, Response, redirect::Policy};
use tokio::sync::oneshot;
use trimtab_model::Timestamp;
use trimtab_web::{OneTimeCodes, WebConfig, serve};

use crate::backend::{Demo, now};

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) base: String,
    pub(crate) demo: Arc<Demo>,
    pub(crate) codes: Arc<OneTimeCodes>,
    client: Client,
    stop: Option<oneshot::Sender<()>>,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::over(Demo::new(false)).await
    }

    pub(crate) async fn over(demo: Demo) -> Self {
        let demo = Arc::new(demo);
        let codes = Arc::new(OneTimeCodes::new());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut config = WebConfig::new([3; 32], Arc::clone(&codes));
        config.hosts_allowed = vec!["trimtab.example.org".to_owned()];
        config.body_bytes_max = 16 * 1024;
        let (stop, stopped) = oneshot::channel::<()>();
        let backend = Arc::clone(&demo);
        let running = tokio::spawn(async move {
            let end = async { stopped.await.unwrap_or_default() };
            serve(listener, backend, config, end).await.unwrap();
        });
        // The client wants a provider even where it speaks plain HTTP; another test may have set it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Server {
            base,
            demo,
            codes,
            client,
            stop: Some(stop),
            running: Some(running),
        }
    }

    /// Asks the server to end, and waits until it has.
    pub(crate) async fn end(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.running.take().unwrap().await.unwrap();
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// Logs in with a token, and gives the session's cookie and its CSRF token.
    pub(crate) async fn log_in(&self, token: &str) -> (String, String) {
        let answer = self
            .post("/login")
            .form(&[("token", token)])
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 303, "login as {token}");
        let cookie = session_of(&answer);
        let page = self
            .get("/")
            .header("cookie", &cookie)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let csrf = page
            .split("name=\"csrf\" content=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap()
            .to_owned();
        assert!(!csrf.is_empty());
        (cookie, csrf)
    }

    pub(crate) fn code(&self) -> String {
        self.codes.issue(Timestamp(now().millis())).unwrap()
    }
}

/// The session's cookie as the next request sends it.
pub(crate) fn session_of(answer: &Response) -> String {
    let cookies = answer
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|value| value.to_str().unwrap());
    let session = cookies
        .into_iter()
        .find(|cookie| cookie.starts_with("trimtab_session="))
        .unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(session.contains(part), "{session}");
    }
    session.split(';').next().unwrap().to_owned()
}
