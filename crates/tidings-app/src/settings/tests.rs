use super::*;

#[test]
fn code_is_above_the_environment_that_is_above_files_and_presets_are_below_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let (toml, json) = (folder.path().join("tidings.toml"), folder.path().join("tidings.json"));
    std::fs::write(&toml, "name = \"file\"\ndrain = \"3s\"\npayload_bytes_max = 7\n").expect("written");
    std::fs::write(&json, r#"{"name": "json", "buffered": {"shared": {"keep_dropped": false}}}"#)
        .expect("written");
    let settings = Settings::load()
        .file(&toml)
        .file(&json)
        .file_if_there(folder.path().join("none.toml"))
        .environment([("TIDINGS_PAYLOAD_BYTES_MAX", "8"), ("TIDINGS_BENCH_OUT", "elsewhere"), ("HOME", "/")])
        .set("payload_bytes_max", 9)
        .preset(Preset::Dev)
        .finish()
        .expect("no fault");
    assert_eq!(
        (settings.name.as_str(), settings.drain, settings.payload_bytes_max),
        ("json", Duration::from_secs(3), 9)
    );
    assert_eq!(
        settings.buffered.shared.queue.workers, 2,
        "the preset says so, and nobody else says anything"
    );
    assert_eq!(settings.buffered.shared.queue.events_max, 10_000, "what nobody says is the default");
}

#[test]
fn presets_differ_from_the_defaults_and_from_each_other() {
    let of = |preset| Settings::load().preset(preset).finish().expect("no fault");
    let (dev, production) = (of(Preset::Dev), of(Preset::Production));
    assert_eq!((dev.drain, production.drain), (Duration::from_secs(1), Duration::from_secs(30)));
    assert_eq!(dev.bus.listeners_max, Some(10));
    assert!(production.buffered.shared.queue.scaling.is_some());
    assert_eq!(dev.buffered.shared.overflow, tidings_runtime::Overflow::Refuse);
}

#[test]
fn all_faults_come_in_one_error_with_their_paths() {
    let error = Settings::load()
        .toml(
            "drain = \"-3s\"\npayload_bytes_max = 0\nsorce = \"/x\"\n\
             [buffered.shared]\ncaller_share_max = nan\ninput_per_second = -4.0\n\
             [buffered.shared.queue]\nworkers = 0\n\
             [policies.\"orders/charge\"]\ntimeout = \"0s\"\n[flags]\ncheckout = { percent = 120.0 }\n",
        )
        .environment([("TIDINGS_BUFERED__SHARED__QUEUE__WORKERS", "4")])
        .finish()
        .expect_err("faults");
    let mut paths: Vec<_> = error.faults.iter().map(|fault| fault.path.as_str()).collect();
    paths.sort_unstable();
    let expected = [
        "bufered.shared.queue.workers",
        "buffered.shared.caller_share_max",
        "buffered.shared.input_per_second",
        "buffered.shared.queue.workers",
        "drain",
        "flags.checkout",
        "payload_bytes_max",
        "policies.orders/charge.timeout",
        "sorce",
    ];
    assert_eq!(paths, expected, "{error}");
    assert!(error.to_string().starts_with("9 settings cannot be used:\n  - "));
}

#[test]
fn settings_are_written_as_they_are_read() {
    let settings = Settings::load().preset(Preset::Production).finish().expect("no fault");
    let text = serde_json::to_string(&settings).expect("JSON");
    let read = Settings::load().json(text).finish().expect("no fault");
    let durable = tidings_durable::Config { owner: settings.durable.owner.clone(), ..read.durable.clone() };
    assert_eq!(Settings { durable, ..read }, settings);
}
