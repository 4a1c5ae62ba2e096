//! A spec as the engine is asked for it, and what the engine tells as an instance.

use std::collections::BTreeMap;

use jiff::Timestamp as Moment;
use serde_json::{Value, json};
use trimtab_model::Timestamp;
use trimtab_runtime::{Exit, Image, Instance, InstanceSpec, InstanceState, Kind};

use crate::kept::Kept;

/// What output the engine keeps of each container.
const LOG_SIZE: &str = "8m";
const LOG_FILES: &str = "8";

/// Names of the labels by which a container is known to be ours.
pub(crate) const OWNER: &str = "trimtab.owner";
pub(crate) const INSTANCE: &str = "trimtab.instance";

/// The body of a request that makes the container. `telemetry` replaces the address of the OTLP listener.
pub(crate) fn body(
    kept: &Kept,
    image: &Image,
    owner: &str,
    network: &str,
    env: &BTreeMap<String, String>,
) -> Value {
    let spec = &kept.spec;
    let port = format!("{}/tcp", kept.port);
    let mut env: Vec<String> = env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    env.push(format!("PORT={}", kept.port));
    let restart = match spec.kind {
        Kind::Once => "no",
        Kind::Service | Kind::Worker => "unless-stopped",
    };
    let mut host = json!({
        "NetworkMode": if image.host_network { "host" } else { network },
        "RestartPolicy": { "Name": restart },
        "SecurityOpt": ["no-new-privileges"],
        "LogConfig": { "Type": "json-file", "Config": { "max-size": LOG_SIZE, "max-file": LOG_FILES } },
    });
    if let Some(memory) = spec.limits.memory {
        // As much with swap: swapping would hide that it needs more.
        (host["Memory"], host["MemorySwap"]) = (json!(memory), json!(memory));
    }
    if let Some(millis) = spec.limits.cpu_millis {
        host["NanoCpus"] = json!(u64::from(millis) * 1_000_000);
    }
    if let Some(processes) = spec.limits.processes {
        host["PidsLimit"] = json!(processes);
    }
    if let Some(data) = spec.env.get("TRIMTAB_DATA") {
        host["Binds"] = json!([format!("{data}:{data}")]);
    }
    let mut body = json!({
        "Image": image.reference,
        "Env": env,
        "Labels": {
            OWNER: owner,
            INSTANCE: spec.id.as_str(),
            "trimtab.service": spec.service.as_str(),
            "trimtab.release": spec.release.as_str(),
            "trimtab.environment": spec.environment.as_str(),
        },
        "StopTimeout": spec.stop_grace.as_secs().max(1),
    });
    if spec.kind == Kind::Service && !image.host_network {
        body["ExposedPorts"] = json!({ port.clone(): {} });
        host["PortBindings"] =
            json!({ port: [{ "HostIp": "127.0.0.1", "HostPort": kept.port.to_string() }] });
    }
    if !spec.command.is_empty() {
        (body["Entrypoint"], body["Cmd"]) = (json!(spec.command), json!([]));
    }
    if let Some(user) = &spec.user {
        body["User"] = json!(user);
    }
    if let Some(directory) = &spec.directory {
        body["WorkingDir"] = json!(directory);
    }
    body["HostConfig"] = host;
    body
}

/// What the engine's words on a container mean; `None`: it has no such container.
pub(crate) fn instance(kept: &Kept, seen: Option<&Value>) -> Instance {
    let spec: &InstanceSpec = &kept.spec;
    let state = seen.map(|seen| &seen["State"]);
    let status = state.and_then(|state| state["Status"].as_str());
    let present = match status {
        _ if kept.stopped => InstanceState::Stopped,
        Some("running" | "paused") => InstanceState::Running,
        Some("created") => InstanceState::Starting,
        Some("restarting") => InstanceState::BackOff,
        Some("removing") => InstanceState::Stopping,
        Some(_) => InstanceState::Exited,
        None => InstanceState::Lost,
    };
    let count = seen.and_then(|seen| seen["RestartCount"].as_u64()).unwrap_or(0);
    let pid = state
        .and_then(|state| state["Pid"].as_u64())
        .filter(|pid| *pid > 0);
    let problem = state
        .and_then(|state| state["Error"].as_str())
        .filter(|error| !error.is_empty());
    Instance {
        id: spec.id.clone(),
        release: spec.release.clone(),
        environment: spec.environment.clone(),
        service: spec.service.clone(),
        generation: spec.generation,
        address: ([127, 0, 0, 1], kept.port).into(),
        pid: pid.and_then(|pid| u32::try_from(pid).ok()),
        state: present,
        restarts: kept
            .restarts
            .saturating_add(u32::try_from(count).unwrap_or(u32::MAX)),
        started_at: state.and_then(|state| moment(&state["StartedAt"])),
        last_exit: state.and_then(|state| exit(kept, state)),
        lines_dropped: 0,
        lines_cut: 0,
        problem: problem.map(str::to_owned),
        limits: (!spec.limits.is_empty()).then(|| "kept by the container engine".to_owned()),
    }
}

/// An instance while the engine does not answer, and why.
pub(crate) fn unknown(kept: &Kept, reason: String) -> Instance {
    let lost = instance(kept, None);
    Instance {
        state: match lost.state {
            InstanceState::Lost => InstanceState::Unknown,
            decided => decided,
        },
        problem: Some(reason),
        ..lost
    }
}

fn exit(kept: &Kept, state: &Value) -> Option<Exit> {
    let at = moment(&state["FinishedAt"])?;
    let code = state["ExitCode"]
        .as_i64()
        .and_then(|code| i32::try_from(code).ok());
    let memory = state["OOMKilled"].as_bool() == Some(true);
    let reason = memory.then(|| {
        let megabytes = kept.spec.limits.memory.unwrap_or(0) as f64 / 1e6;
        format!("out of memory: it went over its limit of {megabytes:.0} MB")
    });
    Some(Exit {
        at,
        // A shell's way to tell of a signal, which engines follow.
        code: code.filter(|code| *code <= 128),
        signal: code.filter(|code| *code > 128).map(|code| code - 128),
        last_lines: Vec::new(),
        reason: reason.or_else(|| kept.dead.clone()),
    })
}

/// The engine's time; none for its year 1, which is never.
fn moment(value: &Value) -> Option<Timestamp> {
    let moment: Moment = value.as_str()?.parse().ok()?;
    (moment.as_second() > 0).then(|| Timestamp(moment.as_millisecond()))
}
