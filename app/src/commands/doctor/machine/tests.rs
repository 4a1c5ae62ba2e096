#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn every_trouble_of_the_machine_has_a_mend() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    assert_eq!(git().state, CheckState::Ok);

    fs::create_dir(data.join("keys")).unwrap();
    let key = data.join("keys").join("session.key");
    fs::write(&key, "secret").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let found = folder_states(data);
    assert_eq!(found, [CheckState::Ok, CheckState::Failed]);
    let mend = &super::folder(data)[1].mend;
    assert!(mend.starts_with("chmod 600 "), "{mend}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(folder_states(data), [CheckState::Ok, CheckState::Ok]);
    assert_eq!(folder_states(&data.join("missing")), [CheckState::Warning]);
    assert_eq!(folder_states(&key), [CheckState::Failed]);

    for (bytes, state) in [
        (0, CheckState::Failed),
        (1 << 30, CheckState::Warning),
        (1 << 40, CheckState::Ok),
    ] {
        assert_eq!(of_room(bytes).state, state);
        assert_eq!(of_room(bytes).mend.is_empty(), state == CheckState::Ok);
    }

    assert_eq!(clock(data).state, CheckState::Ok);
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    let file = fs::File::create(data.join("journal.db-wal")).unwrap();
    file.set_modified(tomorrow).unwrap();
    let found = clock(data);
    assert_eq!(found.state, CheckState::Failed, "{}", found.text);

    assert_eq!(proxy(data).state, CheckState::Ok, "not started yet");
    fs::create_dir(data.join("proxy")).unwrap();
    let socket = data.join("proxy").join("control.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert_eq!(proxy(data).state, CheckState::Ok);
    drop(listener);
    assert_eq!(proxy(data).state, CheckState::Failed, "killed");
}

fn folder_states(data: &Path) -> Vec<CheckState> {
    super::folder(data).iter().map(|check| check.state).collect()
}

#[test]
fn a_taken_port_and_a_broken_configuration_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("trimtab-server.yaml");
    let hold = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, traffic, free, also_free) = (hold(), hold(), hold(), hold());
    let [address, traffic_address, grpc, http] =
        [&taken, &traffic, &free, &also_free].map(|listener| listener.local_addr().unwrap());
    drop((free, also_free));
    fs::write(
        &config,
        format!("listen: {address}\notlp_grpc: {grpc}\notlp_http: {http}\ntraffic: {traffic_address}\n"),
    )
    .unwrap();
    let found = ports(&config, true, false);
    let states: Vec<_> = found.iter().map(|check| check.state).collect();
    let (ok, warning, failed) = (CheckState::Ok, CheckState::Warning, CheckState::Failed);
    assert_eq!(states, [ok, failed, ok, ok, warning]);
    assert!(found[1].mend.contains("listen"), "{}", found[1].mend);
    assert!(found[1].name.contains(&address.port().to_string()));
    // A running server holds its own ports.
    assert_eq!(ports(&config, true, true).len(), 1);
    fs::write(&config, "lisen: 127.0.0.1:1\n").unwrap();
    let found = ports(&config, true, false);
    assert_eq!(found[0].state, failed);
    assert!(found[0].text.contains("lisen"), "{}", found[0].text);
}

#[tokio::test]
async fn a_damaged_journal_is_found_and_salvaged() {
    use trimtab_journal::{Expected, Journal, NewEvent};
    use trimtab_model::{Actor, Timestamp};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    assert_eq!(journal(&path).await.state, CheckState::Ok, "none yet");
    let open = Journal::open(&path).await.unwrap();
    for number in 0..300 {
        let body = serde_json::json!({"filler": "x".repeat(400)});
        let stream = format!("run/run-{}", number % 3);
        let event = NewEvent::new(stream, "run.happened", Timestamp(7), Actor::trimtab(), body);
        open.append(Expected::Any, vec![event]).await.unwrap();
    }
    let found = journal(&path).await;
    assert_eq!(found.state, CheckState::Ok, "beside an open one: {}", found.text);
    assert!(found.text.contains("300 events in 3 streams"), "{}", found.text);
    open.close().await;
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 3 * 4096].fill(0xA5);
    fs::write(&path, &bytes).unwrap();
    let found = journal(&path).await;
    assert_eq!(found.state, CheckState::Failed);
    assert!(found.mend.contains("--salvage"), "{}", found.mend);

    let (out, to) = (
        crate::commands::print::Printer::new(true),
        folder.path().join("saved.db"),
    );
    assert!(crate::commands::doctor::salvage(&out, &path, &to).await.unwrap());
    let found = journal(&to).await;
    assert_eq!(found.state, CheckState::Ok, "{}", found.text);
    assert_eq!(fs::read(&path).unwrap(), bytes, "the damaged one stays as it was");
    let again = crate::commands::doctor::salvage(&out, &path, &to)
        .await
        .unwrap_err();
    assert!(format!("{again:#}").contains("exists already"), "{again:#}");
}
