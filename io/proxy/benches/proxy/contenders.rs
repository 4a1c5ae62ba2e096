//! The same reverse proxy three times, and the instance behind it.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use trimtab_model::{EnvironmentName, Generation, InstanceId, ReleaseId, RolloutId, ServiceName, Weight};
use trimtab_proxy::{
    Ejection, Endpoint, Policy, Pool, Probe, Protocol, ProxyClient, ProxyConfig, Route, RoutingTable, Split,
};

use crate::{OTHER_CORE, PROXY_CORE, Result};

/// Bytes of the large answer.
const LARGE: usize = 100_000;

/// A process that ends with the benchmark.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // nginx's master ends its workers on SIGTERM, which `kill` does not send.
        let _gone = Command::new("kill").arg(self.0.id().to_string()).status();
        let _status = self.0.wait();
    }
}

/// One of the proxies: where it listens, and the process that does the work.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) http1: SocketAddr,
    pub(crate) http2: SocketAddr,
    pub(crate) pid: u32,
    _process: Option<Process>,
}

/// The instance: nginx with a small answer and one of 100 kB.
pub(crate) fn instance(dir: &Path) -> Result<(SocketAddr, Process)> {
    let address = free_port()?;
    std::fs::write(dir.join("large"), vec![b'x'; LARGE])?;
    let http = format!(
        "server {{ listen {address} backlog=4096; sendfile on; root {};\n\
         location / {{ default_type application/json; return 200 '{{\"block\":17,\"text\":\"as small as an answer of a service is\"}}'; }}\n\
         location = /large {{ default_type application/octet-stream; }} }}",
        dir.display()
    );
    let process = start_nginx(dir, "instance", &http, OTHER_CORE)?;
    wait_for(address)?;
    Ok((address, process))
}

/// nginx, with access log off and a keep-alive upstream.
pub(crate) fn nginx(dir: &Path, instance: SocketAddr) -> Result<Contender> {
    let (http1, http2) = (free_port()?, free_port()?);
    let http = format!(
        "upstream instance {{ server {instance}; keepalive 128; keepalive_requests 100000000; }}\n\
         server {{ listen {http1} backlog=4096; listen {http2} http2 backlog=4096;\n\
         location / {{ proxy_pass http://instance; proxy_http_version 1.1;\n\
         proxy_set_header Connection ''; proxy_set_header Host $http_host;\n\
         proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;\n\
         proxy_set_header X-Forwarded-Host $http_host; }} }}"
    );
    let process = start_nginx(dir, "rival", &http, PROXY_CORE)?;
    wait_for(http1)?;
    let pid = children(process.0.id())?
        .first()
        .copied()
        .ok_or("nginx started no worker")?;
    Ok(Contender {
        name: "nginx",
        http1,
        http2,
        pid,
        _process: Some(process),
    })
}

/// haproxy, with one thread, no log and connections reused.
pub(crate) fn haproxy(dir: &Path, instance: SocketAddr) -> Result<Contender> {
    let (http1, http2) = (free_port()?, free_port()?);
    let config = format!(
        "global\n nbthread 1\n maxconn 4096\n\
         defaults\n mode http\n timeout connect 3s\n timeout client 60s\n timeout server 10s\n\
         \x20option forwardfor\n http-reuse always\n\
         frontend front\n bind {http1}\n bind {http2} proto h2\n\
         \x20http-request set-header X-Forwarded-Proto http\n\
         \x20http-request set-header X-Forwarded-Host %[req.hdr(host)]\n default_backend back\n\
         backend back\n server one {instance}\n"
    );
    let path = dir.join("haproxy.cfg");
    std::fs::write(&path, config)?;
    let child = Command::new("taskset")
        .args(["-c", PROXY_CORE, "haproxy", "-db", "-q", "-f"])
        .arg(&path)
        .spawn()?;
    let pid = child.id();
    let process = Process(child);
    wait_for(http1)?;
    Ok(Contender {
        name: "haproxy",
        http1,
        http2,
        pid,
        _process: Some(process),
    })
}

/// Trimtab, with everything switched on.
pub(crate) async fn trimtab(dir: &Path, instance: SocketAddr) -> Result<(Contender, ProxyClient)> {
    let mut config = ProxyConfig::new(dir.join("proxy"), "taskset", vec!["127.0.0.1:0".parse()?]);
    config.arguments = ["-c", PROXY_CORE, env!("CARGO_BIN_EXE_trimtab-proxy")]
        .map(str::to_owned)
        .to_vec();
    config.threads = 1;
    let client = ProxyClient::start_or_adopt(config).await?;
    client.apply(&table(1, instance, 30.0)?).await?;
    let status = client.status().await?;
    let address = *status.listen.first().ok_or("the proxy listens nowhere")?;
    let contender = Contender {
        name: "trimtab",
        http1: address,
        http2: address,
        pid: status.worker_pid,
        _process: None,
    };
    Ok((contender, client))
}

/// Two arms of the same instance.
pub(crate) fn table(version: u64, instance: SocketAddr, percent: f64) -> Result<RoutingTable> {
    let pool = |name: &str| -> Result<Pool> {
        Ok(Pool {
            release: ReleaseId::new(name)?,
            endpoints: vec![Endpoint {
                instance: InstanceId::new(format!("{name}-production-1"))?,
                address: instance,
            }],
            health: Probe::default(),
            protocol: Protocol::Http1,
        })
    };
    let route = Route {
        service: ServiceName::new("blocks")?,
        environment: EnvironmentName::new("production")?,
        host: "*".to_owned(),
        path_prefix: "/".to_owned(),
        generation: Generation(version),
        timeout_ms: 10_000,
        split: Split {
            rollout: Some(RolloutId::new("rollout-1")?),
            baseline: pool("blocks-r1")?,
            candidate: Some(pool("blocks-r2")?),
            candidate_weight: Weight::from_percent(percent)?,
            sticky: None,
        },
        mirror: None,
        preview: None,
        policy: Policy {
            hold_ms: 5_000,
            ejection: Some(Ejection {
                failures: 5,
                for_ms: 10_000,
            }),
            slow_start_ms: 10_000,
            asset_fallback: true,
            ..Policy::default()
        },
    };
    Ok(RoutingTable::new(version, vec![route]))
}

fn start_nginx(dir: &Path, name: &str, http: &str, core: &str) -> Result<Process> {
    let path = dir.join(format!("{name}.conf"));
    let home = dir.display();
    let config = format!(
        "daemon off; master_process on; worker_processes 1; pid {home}/{name}.pid; error_log {home}/{name}.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {home}/{name}-body;\n\
         proxy_temp_path {home}/{name}-proxy; fastcgi_temp_path {home}/{name}-fastcgi;\n\
         uwsgi_temp_path {home}/{name}-uwsgi; scgi_temp_path {home}/{name}-scgi;\n{http} }}\n"
    );
    std::fs::write(&path, config)?;
    let child = Command::new("taskset")
        .args(["-c", core, "nginx", "-c"])
        .arg(&path)
        .spawn()?;
    Ok(Process(child))
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect())
}

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn wait_for(address: SocketAddr) -> Result<()> {
    for _ in 0..200 {
        if std::net::TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("nothing listens at {address}").into())
}
