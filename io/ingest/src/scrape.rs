//! Reading an instance's Prometheus metrics.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use trimtab_model::Identity;
use trimtab_telemetry::{Labels, Sample, prometheus, stale_marker, stamped_sample};

use crate::ScrapeError;
use crate::intake::now_nanos;

/// Most bytes of one scrape.
pub const METRICS_BYTES_MAX: usize = 8 << 20;

/// Reads the metrics of one instance, again and again.
#[derive(Debug)]
pub struct Scraper {
    address: SocketAddr,
    path: String,
    identity: Identity,
    timeout: Duration,
    seen: HashSet<Labels>,
}

/// What one scrape gave.
#[derive(Debug)]
pub struct Scraped {
    /// The instance's samples, a staleness marker for each series that is gone since the last scrape,
    /// `up` (1 or 0) and `scrape_duration_seconds`. To be stored also when the scrape failed.
    pub samples: Vec<Sample>,
    /// Why it failed, if it did.
    pub error: Option<ScrapeError>,
}

impl Scraper {
    /// A scraper of `http://address/path`; `timeout` is for the whole of one scrape.
    pub fn new(address: SocketAddr, path: impl Into<String>, identity: Identity, timeout: Duration) -> Self {
        Scraper {
            address,
            path: path.into(),
            identity,
            timeout,
            seen: HashSet::new(),
        }
    }

    /// Reads once.
    pub async fn scrape(&mut self) -> Scraped {
        let began = tokio::time::Instant::now();
        let at_ms = i64::try_from(now_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let read = match tokio::time::timeout(self.timeout, self.read()).await {
            Ok(read) => read,
            Err(_) => Err(ScrapeError::TimedOut {
                address: self.address,
                path: self.path.clone(),
                millis: self.timeout.as_millis(),
            }),
        };
        let parsed = read.and_then(|text| {
            prometheus::parse_text(&text, &self.identity, at_ms).map_err(|source| ScrapeError::Text {
                address: self.address,
                path: self.path.clone(),
                source,
            })
        });
        let (mut samples, error) = match parsed {
            Ok(samples) => (samples, None),
            Err(error) => (vec![], Some(error)),
        };
        let now: HashSet<Labels> = samples.iter().map(|sample| sample.labels.clone()).collect();
        samples.extend(self.seen.difference(&now).map(|labels| Sample {
            labels: labels.clone(),
            at_ms,
            value: stale_marker(),
        }));
        self.seen = now;
        let own = |name, value| stamped_sample(name, &[], &self.identity, at_ms, value);
        samples.push(own("up", f64::from(u8::from(error.is_none()))));
        samples.push(own("scrape_duration_seconds", began.elapsed().as_secs_f64()));
        Scraped { samples, error }
    }

    /// Markers that end every series of the instance, for when it is gone for good.
    pub fn end(&mut self) -> Vec<Sample> {
        let at_ms = i64::try_from(now_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let gone = self.seen.drain().map(|labels| Sample {
            labels,
            at_ms,
            value: stale_marker(),
        });
        let mut samples: Vec<Sample> = gone.collect();
        samples.push(stamped_sample("up", &[], &self.identity, at_ms, stale_marker()));
        samples
    }

    async fn read(&self) -> Result<String, ScrapeError> {
        let unreachable = |reason: String| ScrapeError::Unreachable {
            address: self.address,
            path: self.path.clone(),
            reason,
        };
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|e| unreachable(e.to_string()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| unreachable(e.to_string()))?;
        // Ends by itself once the sender is dropped or the peer hangs up.
        tokio::spawn(connection);
        let request = Request::get(self.path.as_str())
            .header(HOST, self.address.to_string())
            .header(ACCEPT, "text/plain; version=0.0.4")
            .header(USER_AGENT, "trimtab")
            .body(Empty::<Bytes>::new())
            .map_err(|e| unreachable(e.to_string()))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| unreachable(e.to_string()))?;
        if response.status() != http::StatusCode::OK {
            return Err(ScrapeError::Status {
                address: self.address,
                path: self.path.clone(),
                status: response.status().as_u16(),
            });
        }
        let body = Limited::new(response.into_body(), METRICS_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                ScrapeError::TooLarge {
                    address: self.address,
                    path: self.path.clone(),
                    max: METRICS_BYTES_MAX,
                }
            } else {
                unreachable(error.to_string())
            }
        })?;
        String::from_utf8(body.to_bytes().into()).map_err(|_| unreachable("the text is not UTF-8".to_owned()))
    }
}
