//! `completions`: what a shell needs to complete our command lines.

use clap_complete::Shell;

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
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    // clap_complete 4.6 takes the hyphen of our name for a subcommand's in half of its script for bash.
    let script = String::from_utf8_lossy(&script).replace("rabbit__subcmd__sink", "rabbit__sink");
    out.line(script.trim_end());
    Ok(Exit::Done)
}
