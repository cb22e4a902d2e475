//! Starts what was typed and maps its end to an exit code.

fn main() -> std::process::ExitCode {
    rabbit_sink::cli::main()
}
