//! What serves no requests: a worker is judged by whether it goes on running, and by its metrics.

use trimtab_api::{LogPage, Rollout, RunState, Service, VerdictDecision};

use crate::house::{EMAIL, PATIENCE, Place, SERVICE, SLACK, Server};

/// Works ten times a second; ends and lags as it is told. Its metric goes out by OTLP.
const WORK: &str = r#"#!/bin/sh
header="$(echo "$OTEL_EXPORTER_OTLP_HEADERS" | sed 's/=/: /; s/%20/ /')"
n=0
while :; do
  n=$((n + 1))
  echo "job $n is done"
  if [ -n "$END_AFTER" ] && [ "$n" -ge "$END_AFTER" ]; then echo "cannot reach the queue"; exit 3; fi
  point="{\"timeUnixNano\": \"$(date +%s%N)\", \"asDouble\": $LAG}"
  body="{\"resourceMetrics\": [{\"scopeMetrics\": [{\"metrics\": [{\"name\": \"queue_lag_seconds\",
    \"gauge\": {\"dataPoints\": [$point]}}]}]}]}"
  curl -s -o /dev/null -H "$header" -H 'content-type: application/json' -d "$body" \
    "$OTEL_EXPORTER_OTLP_ENDPOINT/v1/metrics"
  sleep 0.1
done
"#;

fn yaml(watch: &str, env: &str, verdict: &str) -> String {
    format!(
        "service: {SERVICE}\npipeline:\n  build: mkdir -p bin && cp work.sh bin/work && chmod +x bin/work\n  \
         artifact: {{paths: [bin]}}\nrun:\n  kind: worker\n  command: ./bin/work\n  instances: 2\n  stop_grace: 1s\n  \
         env: {{{env}}}\nproduction:\n  watch: {watch}\n  verdict: {{on_regressed: rollback{verdict}}}\n"
    )
}

const WELL: &str = "END_AFTER: '', LAG: '1'";
const METRIC: &str = ", metrics: [{name: queue_lag, query: max(queue_lag_seconds), direction: lower, unit: s, \
                      share: 50%, interval: 500ms, intervals_min: 2}]";

/// Ships a worker; returns how that ended, in words.
async fn ship(server: &Server, yaml: &str, title: &str) -> (RunState, String) {
    server.place.commit_text(yaml, title);
    let run = server.run().await;
    let ended = server.ended(&run).await.summary;
    (ended.state, ended.state_text)
}

/// The workers of a release that run.
async fn workers(server: &Server, release: &str) -> Vec<u32> {
    let services: Vec<Service> = server.get("/api/v1/services").await;
    let instances = services[0].environments.iter().flat_map(|place| &place.instances);
    let of_release = instances.filter(|instance| instance.release == release);
    of_release.filter_map(|instance| instance.pid).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_goes_out_and_a_bad_one_comes_back() {
    let place = Place::make();
    std::fs::write(place.repository().join("work.sh"), WORK).unwrap();
    place.commit_text(&yaml("2s", WELL, ""), "Work");
    let repository = place.repository();
    let server = Server::start(place, &repository).await;
    server.deploy().await;
    let serving = workers(&server, "notes-r1").await;
    assert_eq!(serving.len(), 2);

    let ends = "END_AFTER: '15', LAG: '1'";
    let (state, why) = ship(&server, &yaml("30s", ends, ""), "End").await;
    assert_eq!(state, RunState::Failed, "{why}");
    assert!(
        why.contains("ended with exit code 3: cannot reach the queue"),
        "{why}"
    );
    assert_eq!(
        workers(&server, "notes-r1").await,
        serving,
        "nobody touched the first"
    );

    let lags = "END_AFTER: '', LAG: '9'";
    let (state, why) = ship(&server, &yaml("90s", lags, METRIC), "Lag").await;
    assert_eq!(state, RunState::Failed, "{why}");
    // The watch itself called it, or the incident that its evidence opened was first.
    let newest = server.rollouts().await.swap_remove(0);
    let whole: Rollout = server.get(&format!("/api/v1/rollouts/{}", newest.id)).await;
    let verdict = whole.verdict.unwrap();
    let lag = verdict
        .evidence
        .iter()
        .find(|one| one.metric.contains("queue_lag"));
    assert_eq!(lag.unwrap().decision, VerdictDecision::Regressed, "{verdict:?}");
    assert_eq!(
        workers(&server, "notes-r1").await,
        serving,
        "nobody touched the first"
    );

    // What was mended is another release, though its artifact is the one that was quarantined.
    let (state, why) = ship(&server, &yaml("2s", WELL, ""), "Mend").await;
    assert_eq!(state, RunState::Deployed, "{why}");
    server.stop().await;
}

/// A job that fails each time.
const SWEEP: &str = "#!/bin/sh\necho \"swept by $TRIMTAB_RELEASE\"\necho cannot reach the archive\nexit 3\n";

/// Its schedule starts it, its exit code is told with its last words, and its lines are stored as anyone's.
#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_is_started_when_it_is_due_and_its_failure_is_told() {
    let place = Place::make();
    std::fs::write(place.repository().join("work.sh"), SWEEP).unwrap();
    let yaml = yaml("1s", "A: b", "").replace("kind: worker", "kind: cron\n  schedule: '* * * * *'");
    place.commit_text(&yaml.replace("  instances: 2\n", ""), "Sweep");
    let repository = place.repository();
    let server = Server::start(place, &repository).await;
    server.deploy().await;
    server.inbox.wait(&[SLACK, EMAIL], "notes failed").await;
    server
        .inbox
        .wait(&[SLACK, EMAIL], "cannot reach the archive")
        .await;
    let began = std::time::Instant::now();
    loop {
        let logs: LogPage = server.get("/api/v1/logs?text=swept%20by&limit=10").await;
        if let Some(line) = logs.lines.first() {
            assert_eq!(line.body, "swept by notes-r1");
            assert_eq!(line.release.as_deref(), Some("notes-r1"));
            break;
        }
        assert!(began.elapsed() < PATIENCE, "its lines are not stored");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    server.stop().await;
}
