//! `man`: the manual page, in roff.

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::exit::{CliError, Exit};
use super::output::Out;

/// Prints; reads no config. One page for all commands: each has few options, and one page can be searched.
pub(super) fn execute(mut command: Command, out: &mut Out) -> Result<Exit, CliError> {
    command.build();
    let mut page = Vec::new();
    write(&command, &mut page).map_err(|error| CliError::failed(format!("the page can't be written: {error}")))?;
    out.line(String::from_utf8_lossy(&page).trim_end());
    Ok(Exit::Done)
}

fn write(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    commands(command, "", &mut roff);
    roff.control("SH", ["ENVIRONMENT"]);
    for argument in command.get_arguments() {
        if let Some(variable) = argument.get_env() {
            entry(&mut roff, &variable.to_string_lossy(), &format!("Stands for {}.", shown(argument)));
        }
    }
    entry(&mut roff, "RABBIT_SINK__SECTION__KEY", "Sets a key over the config file.");
    roff.to_writer(page)?;
    man.render_extra_section(page)?;
    man.render_version_section(page)
}

/// The commands below one, each with its own options.
fn commands(command: &Command, before: &str, roff: &mut Roff) {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let name = format!("{before}{}", below.get_name());
        if below.has_subcommands() {
            commands(below, &format!("{name} "), roff);
            continue;
        }
        let own = below.get_arguments().filter(|argument| !argument.is_global_set() && argument.get_id() != "help");
        let own: Vec<&Arg> = own.collect();
        roff.control("SS", [usage(&name, &own).as_str()]);
        roff.text([roman(about(below.get_about()))]);
        for argument in own {
            entry(roff, &shown(argument), &about(argument.get_help()));
        }
    }
}

/// A name and what it means, indented.
fn entry(roff: &mut Roff, name: &str, meaning: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(meaning)]);
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    text.map(ToString::to_string).unwrap_or_default()
}

/// `dlq show PIPELINE ID [OPTIONS]`
fn usage(name: &str, arguments: &[&Arg]) -> String {
    let positional = arguments.iter().filter(|argument| argument.is_positional()).map(|argument| shown(argument));
    let options = arguments.iter().any(|argument| !argument.is_positional()).then(|| "[OPTIONS]".to_owned());
    [name.to_owned()].into_iter().chain(positional).chain(options).collect::<Vec<_>>().join(" ")
}

/// `--config FILE`, `PIPELINE`
fn shown(argument: &Arg) -> String {
    let value = argument
        .get_num_args()
        .is_some_and(|count| count.takes_values())
        .then(|| argument.get_value_names().unwrap_or_default().join(" "));
    let flag = argument.get_long().map(|long| format!("--{long}"));
    [flag, value].into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}
