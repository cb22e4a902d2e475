//! `completions`: what a shell needs to complete our command lines.

use std::path::Path;

use clap_complete::Shell;

use super::escape::escape;
use super::exit::{CliError, Exit};
use super::output::Out;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints; reads no config.
pub(super) fn execute(mut command: clap::Command, args: &Args, out: &mut Out) -> Result<Exit, CliError> {
    let name = command.get_name().to_owned();
    let takers = takers(&command, "");
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    let script = String::from_utf8_lossy(&script);
    let script = match args.shell {
        Shell::Bash => bash(&script, &takers),
        Shell::Zsh => zsh(&script),
        Shell::Fish => fish(&script, &takers),
        _ => script.into_owned(),
    };
    out.line(script.trim_end());
    Ok(Exit::Done)
}

/// The names of the config's pipelines, as far as it can be read: while somebody types, nobody
/// wants to hear what else is wrong with it.
pub(super) fn pipelines(path: &Path, out: &mut Out) -> Exit {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let config: toml::Table = toml::from_str(&text).unwrap_or_default();
    for name in config.get("pipelines").and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys) {
        out.line(&escape(name));
    }
    Exit::Done
}

/// Commands whose first word is a pipeline's name: ` explain`, ` dlq list`.
fn takers(command: &clap::Command, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        let path = format!("{path} {}", below.get_name());
        if below.get_positionals().next().is_some_and(|first| first.get_id() == "pipeline") {
            found.push(path.clone());
        }
        found.extend(takers(below, &path));
    }
    found
}

fn bash(script: &str, takers: &[String]) -> String {
    // clap_complete 4.6 takes the hyphen of our name for a subcommand's in half of its script for bash.
    let script = script.replace("rabbit__subcmd__sink", "rabbit__sink");
    let script = script.replace("complete -F _rabbit__sink ", "complete -F _rabbit_sink_or_pipelines ");
    let patterns: Vec<String> = takers.iter().map(|path| format!("{path:?}")).collect();
    format!("{}\n{script}", BASH.replace("PATTERNS", &patterns.join(" | ")))
}

/// What it completes, and pipelines' names where one is asked for.
const BASH: &str = r#"_rabbit_sink_or_pipelines() {
    _rabbit__sink "$@"
    local at words="" config=() word="${COMP_WORDS[COMP_CWORD]}"
    for ((at = 1; at < COMP_CWORD; at++)); do
        case "${COMP_WORDS[at]}" in
            --config)
                at=$((at + 1))
                config=(--config "${COMP_WORDS[at]}")
                ;;
            --log-level | --log-format) at=$((at + 1)) ;;
            -*) ;;
            *) words="$words ${COMP_WORDS[at]}" ;;
        esac
    done
    case "$word" in -*) return 0 ;; esac
    case "$words" in
        PATTERNS)
            COMPREPLY=($(compgen -W "$("${COMP_WORDS[0]}" "${config[@]}" pipelines 2>/dev/null)" -- "$word"))
            ;;
    esac
}
"#;

fn zsh(script: &str) -> String {
    let mut lines: Vec<String> = script.lines().map(str::to_owned).collect();
    for line in &mut lines {
        // The argument itself, or the value of --adopt.
        if line.starts_with("':pipeline -- ") || line.contains("]:PIPELINE:_default'") {
            *line = line.replace(":_default'", ":_rabbit_sink_pipelines'");
        }
    }
    let own = "\n_rabbit_sink_pipelines() {\n    local -a names\n    \
               names=(${(f)\"$(rabbit-sink pipelines 2>/dev/null)\"})\n    compadd -a names\n}\n";
    // Behind `#compdef rabbit-sink`, which has to be the first line.
    lines.insert(1.min(lines.len()), own.to_owned());
    lines.join("\n")
}

fn fish(script: &str, takers: &[String]) -> String {
    let mut script = script.trim_end().to_owned();
    for path in takers {
        let seen: Vec<String> =
            path.split_whitespace().map(|word| format!("__fish_seen_subcommand_from {word}")).collect();
        let line = format!(
            "\ncomplete -c rabbit-sink -n \"{}\" -a \"(rabbit-sink pipelines 2>/dev/null)\"",
            seen.join("; and ")
        );
        script.push_str(&line);
    }
    script
}
