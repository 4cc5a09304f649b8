//! The command line as it is typed.
#![expect(clippy::unwrap_used, reason = "a failing test is the point")]

use clap::{CommandFactory, Parser};

use super::Cli;
use crate::config::keys::KEYS;

fn help(path: &[&str]) -> String {
    let mut command = Cli::command();
    command.build();
    let mut at = &mut command;
    for name in path {
        at = at.find_subcommand_mut(name).unwrap();
    }
    at.render_long_help().to_string()
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_shows_an_example() {
    let verbs = [
        &["run"][..],
        &["topics", "plan"],
        &["topics", "apply"],
        &["erase", "place"],
        &["erase", "status"],
        &["explain"],
        &["forecast"],
    ];
    for path in verbs {
        let help = help(path);
        assert!(help.contains("Example") && help.contains("  lethe "), "{help}");
    }
}

#[test]
fn every_flag_of_the_table_of_keys_is_a_flag_of_run_with_its_default() {
    let help = help(&["run"]);
    for key in KEYS {
        let Some(flag) = key.flag else { continue };
        assert!(help.contains(flag), "{flag} is not in\n{help}");
        assert!(help.contains(&key.variable()), "{} is not in\n{help}", key.variable());
        let switch = matches!(key.default, None | Some("true" | "false"));
        let default = format!("[default: {}]", key.default.unwrap_or_default());
        assert!(switch || help.contains(&default), "{default} is not in\n{help}");
    }
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    for line in ["lethe", "lethe fly", "lethe run --speed 9", "lethe topics"] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
    assert!(Cli::try_parse_from(["lethe", "topics", "apply", "--with-inputs", "--json"]).is_ok());
}
