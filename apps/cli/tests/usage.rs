//! The command line itself: wrong usage is status 2, and what there is explains itself.

mod kit;

use kit::Room;

#[test]
fn wrong_usage_is_status_2_and_says_what_is_wrong() {
    let room = Room::new();
    for (words, said) in [
        (&["dance"][..], "unrecognized subcommand"),
        (&[], "Usage:"),
        (&["log", "a..b"], "an empty segment at column 3"),
        (&["tail", "order.pl*"], "at column 9"),
        (&["export", "--pattern", "a b"], "at column 2"),
        (&["log", "--limit", "0"], "0 is not in"),
        (&["log", "--since", "yesterday"], "no RFC 3339"),
        (&["log", "--by", "moon"], "possible values: recorded, event"),
        (&["tail", "--from", "then"], "`now`, `beginning` or a position"),
        (&["ingest"], "<FILE>"),
        (&["ingest", "-", "--batch", "10000"], "10000 is not in"),
        (&["ingest", "-", "--stream-by", "mood"], "possible values: subject"),
        (&["view", "a", "--where", "field"], "`field=value`"),
        (&["dead"], "Usage:"),
        (&["dead", "replay", "a"], "<ENTRY|--all|"),
        (&["dead", "discard", "a", "1", "--all"], "cannot be used with"),
        (&["dead", "list", "--reason", "boredom"], "there are permanent"),
        (&["policy", "set", "a"], "--file <FILE>"),
        (&["policy", "set", "a", "timeout = \"1s\"", "--file", "p.toml"], "cannot be used with"),
        (&["subscription", "reset", "a", "--to", "x"], "invalid digit"),
        (&["completions", "cmd"], "possible values: bash"),
    ] {
        let ran = room.run(words);
        assert_eq!(ran.status, 2, "{words:?}: {ran:?}");
        assert!(ran.err.contains(said), "{words:?}: {}", ran.err);
    }
    assert_eq!(room.files(), Vec::<String>::new());
}

#[test]
fn every_command_explains_itself() {
    let room = Room::new();
    let help = room.ok(&["--help"]).out;
    for command in [
        "ingest",
        "log",
        "tail",
        "stream",
        "find",
        "view",
        "stats",
        "subscription",
        "dead",
        "policy",
        "flags",
        "verify",
        "export",
        "backup",
        "lint",
        "explain",
        "info",
        "completions",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} in {help}");
        let own = room.ok(&[command, "--help"]).out;
        assert!(own.contains("--store <URL>") && own.contains("--json"), "{own}");
    }
    assert!(room.ok(&["--version"]).out.starts_with("tidings "));
}

#[test]
fn completions_are_written_for_every_shell() {
    let room = Room::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = room.ok(&["completions", shell]).out;
        assert!(script.contains("stream-by") && script.contains("subscription"), "{shell}");
    }
}
