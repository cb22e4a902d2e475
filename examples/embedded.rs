//! A worker inside a program of your own: reads the config that RABBIT_SINK_CONFIG names, moves
//! messages until Ctrl-C or SIGTERM, tells on each line of stdin how far it is, and says at its end
//! what became of the messages.
//!
//! ```text
//! RABBIT_SINK_CONFIG=config/rabbit-sink.toml cargo run --example embedded
//! ```

use std::error::Error;
use std::path::PathBuf;

use rabbit_sink::{Config, State, Watch, Worker};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The library logs through `tracing`: choose here where that goes.
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let config = config()?;
    println!("pipelines: {}", config.pipelines.keys().cloned().collect::<Vec<_>>().join(", "));

    let worker = Worker::new(config);
    let watch = worker.watch();
    std::thread::spawn(move || answer(&watch));

    let mut terminate = signal(SignalKind::terminate())?;
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    // Returns when all that was in hand is acked, or `worker.shutdown_timeout` is over.
    let summaries = worker.run(told).await;
    for summary in &summaries {
        println!("{}", summary.line());
    }
    let whole = summaries.iter().all(|summary| summary.state == State::Done);
    if whole { Ok(()) } else { Err("something was in the way; the messages are still in their queues".into()) }
}

fn config() -> Result<Config, Box<dyn Error>> {
    let file = PathBuf::from(std::env::var("RABBIT_SINK_CONFIG")?);
    // All mistakes at once, each with its place in the file. The environment may override keys.
    Ok(rabbit_sink::load(&file, &rabbit_sink::process_environment())?)
}

/// What the worker does, each time somebody presses Enter.
fn answer(watch: &Watch) {
    for _ in std::io::stdin().lines() {
        for summary in watch.summaries() {
            let reason = summary.reason.as_deref().unwrap_or("nothing in the way");
            println!("{}: {} written, {reason}", summary.pipeline, summary.written);
        }
    }
}
