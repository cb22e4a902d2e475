//! Starts what was typed and maps its end to an exit code.

/// Gives back what a backlog, a large message or an outage needed, which the allocator of the C
/// library keeps in the arenas of its threads.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    rabbit_sink::cli::main()
}
